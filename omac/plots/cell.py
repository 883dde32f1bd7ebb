"""Figures of one cell: its scores and its values."""

import numpy as np

from omac.plots.style import COLOURS, panels
from omac.schema import LABEL


def score_curves(rows, title):
    """Learning curves: return and win rate over gradient steps, mean and one std over seeds, with the data set's own mean.

    rows: tidy rows of one data set, of kind eval and data (algorithm, kind, step, seed, episodes, return_mean, win_rate).
    """
    figure, axes = panels(7.2, 2.9, 2)
    for ax, column, label in ((axes[0], "return_mean", "return (0-20)"), (axes[1], "win_rate", "win rate")):
        for algorithm, group in rows[rows["kind"] == "eval"].groupby("algorithm"):
            by_step = group.groupby("step")[column].agg(["mean", lambda x: x.std(ddof=0)])
            x, mean, std = by_step.index.to_numpy(float), *by_step.to_numpy(float).T
            ax.plot(x, mean, color=COLOURS.get(algorithm), label=LABEL.get(algorithm, algorithm))
            ax.fill_between(x, mean - std, mean + std, color=COLOURS.get(algorithm), alpha=0.18, lw=0)
        ax.axhline(
            rows.loc[rows["kind"] == "data", column].mean(), color=COLOURS["data"], ls="--", lw=1, label="data set"
        )
        ax.set(xlabel="gradient steps", ylabel=label)
    axes[0].legend(loc="best")
    evals = rows[rows["kind"] == "eval"]
    figure.suptitle(
        f"{title}: {evals['seed'].nunique()} seeds, {int(evals['episodes'].iloc[0])} battles a point, band ± 1 std",
        fontsize=9,
    )
    return figure


def value_curves(log, probe, title):
    """Draw Q_tot over steps beside the discounted return-to-go in the data, and their scatter at the end.

    log: DataFrame with step, seed, q_tot, return_followed and, where there are weights, weight_std; probe: {"q_tot", "ret"} [K,P].
    """
    figure, axes = panels(9.6, 2.9, 3)
    weighed = "weight_std" in log  # BCQ and CQL weigh nothing
    mean = log.groupby("step")[["q_tot", "return_followed", *(["weight_std"] if weighed else [])]].mean()
    axes[0].plot(mean.index, mean["q_tot"], color=COLOURS["omac"], label="mean $Q_{tot}(o, a)$")
    axes[0].plot(
        mean.index,
        mean["return_followed"],
        color=COLOURS["data"],
        ls="--",
        label="mean discounted return that followed",
    )
    axes[0].set(xlabel="gradient steps", ylabel="value (discounted return)")
    axes[0].set_ylim(0, 1.45 * max(mean["q_tot"].max(), mean["return_followed"].max()))
    axes[0].legend(loc="upper left", fontsize=8)
    ret, q = probe["ret"][0], probe["q_tot"][0]
    axes[1].scatter(ret, q, s=3, alpha=0.3, color=COLOURS["omac"], lw=0)
    ends = [min(ret.min(), q.min()), max(ret.max(), q.max())]
    axes[1].plot(ends, ends, color="black", lw=0.8, ls=":")
    axes[1].set(
        xlabel="discounted return that followed",
        ylabel="$Q_{tot}(o, a)$",
        title=f"one seed, correlation {np.corrcoef(ret, q)[0, 1]:.2f}",
    )
    axes[1].title.set_fontsize(9)
    if weighed:
        axes[2].plot(mean.index, mean["weight_std"], color=COLOURS["omac"])
        axes[2].set(xlabel="gradient steps", ylabel=r"std of $\exp(\beta A)$")
        axes[2].set_ylim(bottom=0)
    else:
        axes[2].axis("off")
    figure.suptitle(title, fontsize=9)
    return figure

"""Figures of one cell: its scores and its values."""

from itertools import cycle

import numpy as np

from omac.plots.style import COLOURS, PAGE, panels, temperature_name, titled_legend
from omac.schema import LABEL


def score_curves(rows, title):
    """Draw learning curves: return and win rate over gradient steps, mean and one std over seeds, with the data set's own mean.

    A line for each algorithm, and for each temperature of its policies.

    rows: tidy rows of one data set, of kind eval and data (algorithm, temperature, kind, step, seed, episodes, return_mean, win_rate).
    """
    figure, axes = panels(PAGE, 3.0, 2)
    for ax, column, unit in ((axes[0], "return_mean", "return (0-20)"), (axes[1], "win_rate", "win rate")):
        for algorithm, of_algorithm in rows[rows["kind"] == "eval"].groupby("algorithm"):
            policies = list(of_algorithm.groupby("temperature", sort=False, dropna=False))
            for (temperature, group), dash in zip(policies, cycle(("-", "--", "-.", ":"))):
                by_step = group.groupby("step")[column].agg(["mean", lambda x: x.std(ddof=0)])
                x, mean, std = by_step.index.to_numpy(float), *by_step.to_numpy(float).T
                label = LABEL.get(algorithm, algorithm) + (
                    f", {temperature_name(temperature)}" if len(policies) > 1 else ""
                )
                ax.plot(x, mean, color=COLOURS.get(algorithm), ls=dash, label=label)
                ax.fill_between(x, mean - std, mean + std, color=COLOURS.get(algorithm), alpha=0.18, lw=0)
        ax.axhline(
            rows.loc[rows["kind"] == "data", column].mean(), color=COLOURS["data"], ls="--", lw=1, label="data set"
        )
        ax.set(xlabel="gradient steps", ylabel=unit)
    evals = rows[rows["kind"] == "eval"]
    about = f"{evals['seed'].nunique()} seeds, {int(evals['episodes'].iloc[0])} battles a point, band ± 1 std"
    titled_legend(figure, axes, f"{title}: {about}", ncols=4, last=("data set",))
    return figure


def value_curves(log, probe, title):
    """Draw Q_tot over steps beside the discounted return-to-go in the data, and their scatter at the end.

    log: DataFrame with step, seed, q_tot, return_followed and, where there are weights, weight_std; probe: {"q_tot", "ret"} [K,P].
    """
    weighed = "weight_std" in log and log["weight_std"].notna().any()  # BCQ and CQL weigh nothing
    figure, axes = panels(PAGE, 2.7, 2 + weighed)
    mean = log.groupby("step")[["q_tot", "return_followed", *(["weight_std"] if weighed else [])]].mean()
    axes[0].plot(mean.index, mean["q_tot"], color=COLOURS["omac"], label="mean $Q_{tot}(o, a)$")
    axes[0].plot(
        mean.index,
        mean["return_followed"],
        color=COLOURS["data"],
        ls="--",
        label="mean discounted return-to-go",
    )
    axes[0].set(xlabel="gradient steps", ylabel="value (discounted return)")
    both = mean[["q_tot", "return_followed"]].to_numpy()
    axes[0].set_ylim(min(0, 1.1 * both.min()), max(1.1 * both.max(), 0.1 * np.abs(both).max()))
    ret, q = probe["ret"][0], probe["q_tot"][0]
    axes[1].scatter(ret, q, s=3, alpha=0.3, color=COLOURS["omac"], lw=0)
    ends = [min(ret.min(), q.min()), max(ret.max(), q.max())]
    axes[1].plot(ends, ends, color="black", lw=0.8, ls=":")
    axes[1].set(
        xlabel="discounted return-to-go",
        ylabel="$Q_{tot}(o, a)$",
        title=f"one seed, correlation {np.corrcoef(ret, q)[0, 1]:.2f}",
    )
    axes[1].title.set_fontsize(9)
    if weighed:
        axes[2].plot(mean.index, mean["weight_std"], color=COLOURS["omac"])
        axes[2].set(xlabel="gradient steps", ylabel=r"std of $\exp(\beta A)$")
        axes[2].set_ylim(bottom=0)
    titled_legend(figure, axes, title)
    return figure

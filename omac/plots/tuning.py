"""The temperature axis as figures: what a policy returns over how few samples its weights leave."""

from omac.plots.style import COLOURS, MARKERS, grid
from omac.schema import LABEL, LEVELS

DRAWN = ("omac", "icq", "bc")


def return_over_share(found, variants=("default",)):
    """Draw return over the effective sample share of the weights, a panel per data set, a line per algorithm.

    Args:
        found: as analysis.tuning.by_temperature returns it, of one environment and profile.
        variants: whose settings are joined by lines; of OMAC's ablations one line each.
    """
    found = found[found["algorithm"].isin(DRAWN) & found["variant"].isin(variants) & found["share"].notna()]
    sets = sorted(
        dict.fromkeys(zip(found["map"], found["level"], strict=True)), key=lambda x: (x[0], LEVELS.index(x[1]))
    )
    columns = min(3, max(1, len(sets)))
    rows = -(-len(sets) // columns)
    figure, axes = grid([2.6] * rows, columns, 3.4 * columns)
    for ax, (name, level) in zip(axes.flat, sets, strict=False):
        part = found[(found["map"] == name) & (found["level"] == level)]
        for (algorithm, variant), line in part.groupby(["algorithm", "variant"], sort=False):
            key = algorithm if variant == "default" else variant
            line = line.sort_values("share", ascending=False)
            style = {"color": COLOURS.get(key), "marker": MARKERS.get(key, "o"), "ms": 4, "lw": 1}
            ax.errorbar(line["share"], line["return"], yerr=line["std"], label=LABEL[key], capsize=2, **style)
            for _, point in line.iterrows():
                if algorithm != "bc" and variant == "default":
                    text = point["temperature"].replace("_", " ").replace("published", "paper")
                    at, shift = (point["share"], point["return"]), (3, -10 if text == "paper" else 4)
                    ax.annotate(text, at, xytext=shift, textcoords="offset points", fontsize=6)
        ax.set(xscale="log", xlabel="effective sample share of the weights", title=f"{name} {level}", ylim=(0, 20.5))
        ax.title.set_fontsize(9)
        ax.set_xlim(1.5, found["share"].min() / 1.5)
    for ax in axes.flat[len(sets) :]:
        ax.axis("off")
    axes[0, 0].set_ylabel("return (0-20)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=6, fontsize=8)
    return figure


def return_over_battles(spent, cloning):
    """Draw the expected return over the battles spent on choosing a temperature, a panel per data set, a line per algorithm.

    Args:
        spent: as analysis.choice.battles_spent returns it, not empty.
        cloning: {(map, level): mean return of behaviour cloning}, which chooses nothing.
    """
    sets = sorted(
        dict.fromkeys(zip(spent["map"], spent["level"], strict=True)), key=lambda x: (x[0], LEVELS.index(x[1]))
    )
    columns = min(3, len(sets))
    figure, axes = grid([2.4] * -(-len(sets) // columns), columns, 3.4 * columns)
    for ax, (name, level) in zip(axes.flat, sets, strict=False):
        part = spent[(spent["map"] == name) & (spent["level"] == level)]
        for algorithm, line in part.groupby("algorithm", sort=False):
            style = {"color": COLOURS.get(algorithm), "marker": MARKERS.get(algorithm, "o"), "ms": 4, "lw": 1}
            ax.plot(line["battles"], line["return"], label=LABEL[algorithm], **style)
        if (name, level) in cloning:
            ax.axhline(cloning[name, level], color=COLOURS["bc"], ls="--", lw=1, label=LABEL["bc"])
        ax.set(xlabel="battles spent on choosing", title=f"{name} {level}", ylim=(0, 20.5), xlim=(0, None))
        ax.title.set_fontsize(9)
    for ax in axes.flat[len(sets) :]:
        ax.axis("off")
    axes[0, 0].set_ylabel("expected return (0-20)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=8)
    return figure


def by_value_phase(values, policies):
    """Draw a sequential cell: Q_tot over the steps of the values, then return over the steps of the policies.

    values, policies: rows of kind value and eval of one algorithm on one data set.
    """
    figure, axes = grid([2.4], 2, 7.2)
    left, right = axes[0]
    mean = values.reindex(columns=["step", "q_tot", "return_followed"]).groupby("step").mean()
    left.plot(mean.index, mean["q_tot"], color=COLOURS["omac"], label="mean $Q_{tot}$")
    left.plot(mean.index, mean["return_followed"], color=COLOURS["data"], ls="--", label="return that followed")
    left.set(xlabel="steps of the values", ylabel="value (discounted return)", ylim=(0, None))
    left.legend(fontsize=8)
    for temperature, part in policies.groupby("temperature", sort=False):
        curve = part.groupby("step")["return_mean"].agg(["mean", lambda x: x.std(ddof=0)])
        at, mean, std = curve.index.to_numpy(float), *curve.to_numpy(float).T
        (line,) = right.plot(at, mean, label=temperature.replace("_", " ").replace("published", "paper"))
        right.fill_between(at, mean - std, mean + std, color=line.get_color(), alpha=0.12, lw=0)
    right.set(xlabel="steps of the policies", ylabel="return (0-20)")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=6, fontsize=8)
    return figure

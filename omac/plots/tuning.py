"""The temperature axis as figures: what a policy returns over how few samples its weights leave."""

from itertools import cycle

from omac.plots.style import COLOURS, MARKERS, PAGE, SHADES, grid, temperature_name, titled_legend
from omac.schema import LABEL, LEVELS

DRAWN = ("omac", "icq", "bc")
AT_LEFT = {"xytext": (-5, 0), "ha": "right", "va": "center"}  # of a point: where its name stands
ABOVE, BELOW = {"xytext": (4, 2), "ha": "left", "va": "bottom"}, {"xytext": (4, -2), "ha": "left", "va": "top"}


def return_over_share(found, title, variants=("default",)):
    """Draw return over the effective sample share of the weights, a panel per data set, a line per algorithm.

    Args:
        found: as analysis.tuning.by_temperature returns it, of one environment and profile.
        title: of the legend.
        variants: whose settings are joined by lines; of OMAC's ablations one line each.
    """
    found = found[found["algorithm"].isin(DRAWN) & found["variant"].isin(variants) & found["share"].notna()]
    sets = sorted(
        dict.fromkeys(zip(found["map"], found["level"], strict=True)), key=lambda x: (x[0], LEVELS.index(x[1]))
    )
    columns = min(3, max(1, len(sets)))
    rows = -(-len(sets) // columns)
    figure, axes = grid([2.6] * rows, columns, PAGE)
    for ax, (name, level) in zip(axes.flat, sets, strict=False):
        part = found[(found["map"] == name) & (found["level"] == level)]
        for (algorithm, variant), line in part.groupby(["algorithm", "variant"], sort=False):
            key = algorithm if variant == "default" else variant
            line = line.sort_values("share", ascending=False)
            style = {"color": COLOURS.get(key), "marker": MARKERS.get(key, "o"), "ms": 4, "lw": 1}
            ax.errorbar(line["share"], line["return"], yerr=line["std"], label=LABEL[key], capsize=2, **style)
            if algorithm != "bc" and variant == "default":
                _name_points(ax, line, algorithm)
        ax.set(xscale="log", title=f"{name} {level}", ylim=(0, 20.5))
        ax.title.set_fontsize(9)
        ax.set_xlim(4, found["share"].min() / 1.5)
    for ax in axes.flat[len(sets) :]:
        ax.axis("off")
    axes[0, 0].set_ylabel("return (0-20)")
    figure.supxlabel("effective sample share of the weights", fontsize=9)
    titled_legend(figure, axes, title)
    return figure


def _name_points(ax, line, algorithm):
    """Write the temperatures of a line beside its points, in its colour: the first to the left, OMAC's others mostly below."""
    for i, (_, point) in enumerate(line.iterrows()):
        side = AT_LEFT if i == 0 else BELOW if algorithm == "omac" and i % 5 in (1, 3, 4) else ABOVE
        at = (point["share"], point["return"])
        words = {"textcoords": "offset points", "fontsize": 6.5, "color": COLOURS[algorithm], **side}
        ax.annotate(temperature_name(point["temperature"]), at, **words)


def return_over_battles(spent, cloning, title):
    """Draw the expected return over the battles spent on choosing a temperature, a panel per data set, a line per algorithm.

    Args:
        spent: as analysis.choice.battles_spent returns it, not empty.
        cloning: {(map, level): mean return of behaviour cloning}, which chooses nothing.
        title: of the legend.
    """
    sets = sorted(
        dict.fromkeys(zip(spent["map"], spent["level"], strict=True)), key=lambda x: (x[0], LEVELS.index(x[1]))
    )
    columns = min(3, len(sets))
    figure, axes = grid([2.4] * -(-len(sets) // columns), columns, PAGE)
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
    titled_legend(figure, axes, title)
    return figure


def by_value_phase(values, policies, title):
    """Draw a sequential cell: Q_tot over the steps of the values, then return over the steps of the policies.

    Args:
        values, policies: rows of kind value and eval of one algorithm on one data set.
        title: of the legend.
    """
    figure, axes = grid([2.4], 2, PAGE)
    left, right = axes[0]
    mean = values.reindex(columns=["step", "q_tot", "return_followed"]).groupby("step").mean()
    left.plot(mean.index, mean["q_tot"], color=COLOURS["omac"], label="mean $Q_{tot}$")
    left.plot(
        mean.index, mean["return_followed"], color=COLOURS["data"], ls="--", label="mean return-to-go in the data"
    )
    left.set(xlabel="steps of the values", ylabel="value (discounted return)", ylim=(0, None))
    styles = zip(cycle((COLOURS["omac"], *SHADES)), cycle(("-", "--", "-.", ":")))
    for (temperature, part), (colour, dash) in zip(policies.groupby("temperature", sort=False), styles, strict=False):
        curve = part.groupby("step")["return_mean"].agg(["mean", lambda x: x.std(ddof=0)])
        at, mean, std = curve.index.to_numpy(float), *curve.to_numpy(float).T
        right.plot(at, mean, color=colour, ls=dash, label=temperature_name(temperature))
        right.fill_between(at, mean - std, mean + std, color=colour, alpha=0.12, lw=0)
    right.set(xlabel="steps of the policies", ylabel="return (0-20)")
    titled_legend(figure, axes, title, ncols=4)
    return figure

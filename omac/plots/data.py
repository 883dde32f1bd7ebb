"""Figures of the data sets, drawn from the small tables that `python -m omac cards` writes."""

import numpy as np
import seaborn as sns

from omac.plots.style import BATTLE, LEVEL_COLOURS, LEVEL_DASHES, LEVEL_MARKERS, PAGE, panels, titled_legend


def histogram(data, title):
    """Draw how the episodes of a data set, Episodes, ended: returns of lost, timed-out and won battles, and of unknown outcomes."""
    figure, axes = panels(4.6, 2.6)
    known = ~data.win & ~data.unknown
    lost = known & data.terminated[data.start[1:] - 1]
    parts = [
        (lost, "lost", "#D55E00"),
        (known & ~lost, "time limit", "#CC79A7"),
        (data.win, "won", "#009E73"),
    ]
    if data.unknown.any():
        parts.append((data.unknown, "unknown", "#999999"))
    for mask, label, colour in parts:
        axes[0].hist(
            data.returns[mask], np.arange(0, 21, 0.5), color=colour, label=f"{label} ({mask.mean():.0%})", alpha=0.85
        )
    axes[0].set(xlabel="return (0-20)", ylabel="episodes")
    titled_legend(figure, axes, title)
    return figure


def behaviour(curve, snapshots, title):
    """Draw MAPPO's learning curve by seed, and the snapshots that the levels pool.

    curve: seed, steps, return of every update; snapshots: level, steps, return as measured. Both DataFrames.
    """
    figure, axes = panels(5.6, 3.0)
    for seed, group in curve.groupby("seed"):
        axes[0].plot(
            group["steps"] / 1e6,
            group["return"],
            lw=1,
            color="#999999",
            label="MAPPO, per seed" if seed == curve["seed"].min() else None,
        )
    for level, colour in LEVEL_COLOURS.items():
        chosen = snapshots[snapshots["level"] == level]
        axes[0].scatter(
            chosen["steps"] / 1e6,
            chosen["return"],
            s=14,
            color=colour,
            marker=LEVEL_MARKERS[level],
            zorder=3,
            label=f"{level}: {len(chosen)} snapshots",
        )
    axes[0].set(xlabel=BATTLE, ylabel="mean return (0-20)")
    titled_legend(figure, axes, title, ncols=2)
    return figure


BINS = (10, 15)  # MADT's data: poor below 10, medium to 15, good from 15


def distributions(episodes, column, label, step, title, bins=()):
    """Draw histograms of one column of the episodes, a panel per data source and map, an outline per level.

    episodes: DataFrame with panel, level and the column; step: width of a bar; bins: values to mark with vertical lines.
    The panels share the scale of their shares.
    """
    names = list(dict.fromkeys(episodes["panel"]))
    figure, axes = panels(PAGE, 2.2, len(names))
    for ax, panel in zip(axes, names, strict=True):
        part = episodes[episodes["panel"] == panel]
        edges = np.arange(0, part[column].max() + step + 1e-9, step)
        for level, colour in LEVEL_COLOURS.items():
            values = part.loc[part["level"] == level, column]
            if len(values):
                share = np.full(len(values), 100 / len(values))
                ax.hist(values, edges, weights=share, histtype="stepfilled", alpha=0.25, color=colour)
                ax.hist(
                    values, edges, weights=share, histtype="step", color=colour, ls=LEVEL_DASHES[level], label=level
                )
        for at in bins:
            ax.axvline(at, color="black", lw=0.7)
        ax.set(title=panel, xlabel=label, ylabel="% of episodes" if ax is axes[0] else "")
        ax.title.set_fontsize(8)
    top = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(0, top)
    titled_legend(figure, axes, title)
    return figure


def states(points, title):
    """Draw where the states of the levels lie in the first two principal components, a panel per map.

    points: DataFrame with panel, level, first, second.
    """
    names = list(dict.fromkeys(points["panel"]))
    figure, axes = panels(PAGE, 2.4, len(names))
    for ax, panel in zip(axes, names, strict=True):
        part = points[points["panel"] == panel].sample(frac=1, random_state=0)  # no level hides another
        for level, colour in LEVEL_COLOURS.items():
            ax.scatter([], [], s=10, color=colour, label=level)
        colours = part["level"].map(LEVEL_COLOURS)
        ax.scatter(part["first"], part["second"], s=4, lw=0, alpha=0.55, color=colours, rasterized=True)
        ax.set(title=panel, xlabel="component 1", ylabel="component 2" if ax is axes[0] else "")
        ax.title.set_fontsize(8)
    titled_legend(figure, axes, title)
    return figure


def coverages(tables, title):
    """Draw heat maps of `coverage.coverage`, one per map: {panel: DataFrame level x level}. Levels are named beside the first."""
    figure, axes = panels(PAGE, 2.2, len(tables))
    for ax, (panel, table) in zip(axes, tables.items(), strict=True):
        order = [level for level in LEVEL_COLOURS if level in table.index]
        sns.heatmap(
            table.loc[order, order],
            ax=ax,
            vmin=0,
            vmax=1,
            annot=True,
            fmt=".2f",
            cmap="cividis",
            annot_kws={"fontsize": 8},
            cbar=False,
            square=True,
            yticklabels=ax is axes[0],
        )
        ax.set(title=panel, xlabel="have a neighbour in", ylabel="states of" if ax is axes[0] else "")
        ax.title.set_fontsize(8)
        ax.tick_params(length=0, labelsize=8, labelrotation=0)
        ax.grid(False)
    titled_legend(figure, axes, title)
    return figure


def learning(curves, snapshots, title):
    """Draw MAPPO's learning curves and the snapshots that the levels pool, a panel per map.

    curves {map: DataFrame seed, steps, return}; snapshots {map: DataFrame level, steps, return as measured}.
    """
    figure, axes = panels(PAGE, 2.3, len(curves))
    for ax, (name, curve) in zip(axes, curves.items(), strict=True):
        for _, group in curve.groupby("seed"):
            ax.plot(group["steps"] / 1e6, group["return"], lw=0.7, color="#999999")
        for level, colour in LEVEL_COLOURS.items():
            chosen = snapshots[name][snapshots[name]["level"] == level]
            style = {"s": 12, "color": colour, "marker": LEVEL_MARKERS[level], "zorder": 3, "label": level}
            ax.scatter(chosen["steps"] / 1e6, chosen["return"], **style)
        ax.set(title=name, xlabel=BATTLE, ylabel="mean return (0-20)" if ax is axes[0] else "", ylim=(0, 20.5))
        ax.title.set_fontsize(8)
    titled_legend(figure, axes, title)
    return figure

"""Figures of the study, drawn from data/results.csv: learning curves, losses, switches, values against the returns in the data."""

import math
import textwrap
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from omac.analysis.select import value_rows
from omac.config.names import check_name
from omac.plots.style import COLOURS, DASHES, MARKERS, PAGE, SHADES, TEXT, grid, titled_legend
from omac.schema import KNOWN_LEVELS, KNOWN_MAPS, LABEL, LEVELS

MEAN = "data set's mean"
HEADS = ("$L_Q$ (return²)", "$Q_{tot}$; grey: data", "largest gradient norm", "$w_q$; dotted: $w_v$")
TICKS = (  # of a log axis: up to this ratio of its ends, ticks at these multiples of powers of ten
    (4, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)),
    (30, (1, 2, 3, 5)),
    (3000, (1, 3)),
    (math.inf, (1,)),
)


class Panel(NamedTuple):
    """One panel of learning curves: its title, its data set and the lines, keys of LABEL, that belong in it."""

    title: str
    map: str
    level: str
    ratio: int
    lines: list


def of_panel(rows, panel):
    """Return the rows of a Panel's data set."""
    return rows[(rows["map"] == panel.map) & (rows["level"] == panel.level) & (rows["ratio"] == panel.ratio)]


def absent(rows, panels):
    """Return {title: [labels of the lines that have no rows yet]} of the Panels that are not complete.

    Raises ValueError for a map, level or line that does not exist at all.
    """
    missing = {}
    for panel in panels:
        check_name("map", panel.map, dict.fromkeys((*KNOWN_MAPS, *rows["map"])))
        check_name("level", panel.level, dict.fromkeys((*KNOWN_LEVELS, *rows["level"])))
        for line in panel.lines:
            check_name("line", line, LABEL)
        there = set(of_panel(rows, panel)["line"])
        labels = [LABEL[line] for line in panel.lines if line not in there]
        if labels:
            missing[panel.title] = labels
    return missing


def about(rows):
    """Say in words for a title how the points were made: environment, battles a point, seeds."""
    evals = rows[rows["kind"] == "eval"]
    if evals.empty:
        return "not run yet"
    env = "/".join(sorted(evals["env"].unique())).upper()
    battles = "/".join(str(int(x)) for x in sorted(evals["episodes"].unique()))
    per_line = evals.groupby(["map", "level", "ratio", "line"])["seed"].nunique()
    seeds = "-".join(str(x) for x in sorted({per_line.min(), per_line.max()}))
    return f"{env}, {battles} battles a point, {seeds} seeds"


def curves(rows, panels, columns, title):
    """Draw Figures 2, 3 and 5: mean return over gradient steps, the data set's mean dashed.

    A panel says which of its lines are not run yet. One without any is left out, and named in the title; so is a row or
    column of such panels. Panels side by side share a scale where they show one map and level.

    Args:
        rows: prepared rows of kind eval and data (step, seed, return_mean on the 0-20 scale).
        panels: a Panel each. The band is one std over seeds, ddof 0.
        columns: panels side by side.
        title: of the legend.
    """
    lacks = absent(rows, panels)
    empty = [p.title for p in panels if len(lacks.get(p.title, ())) == len(p.lines)]
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    lines = [line for line in lines if any(p.title not in empty for p in line)]
    kept = [i for i in range(columns) if any(p.title not in empty for line in lines for p in line[i : i + 1])]
    lines = [[line[i] for i in kept if i < len(line)] for line in lines]
    figure, axes = grid([1.7] * max(1, len(lines)), max(1, len(kept)), PAGE)
    own_scale = False
    for places, line in zip(axes, lines, strict=False):
        drawn = [(ax, panel) for ax, panel in zip(places, line, strict=False) if panel.title not in empty]
        for ax, panel in drawn:
            _panel(ax, of_panel(rows, panel), panel, lacks.get(panel.title, ()))
        if len({(panel.map, panel.level) for _, panel in drawn}) == 1:
            _share([ax for ax, _ in drawn])
        else:
            own_scale = True
    figure.supylabel("return (0-20)" + (",\neach panel on its own scale" if own_scale else ""), fontsize=9)
    return _finish(figure, axes, _name_absent(title, empty))


def _panel(ax, part, panel, lacks):
    """Draw the lines of one Panel and the mean of its data set, and say below which lines are not run yet."""
    for name in panel.lines:
        _line(ax, part[(part["kind"] == "eval") & (part["line"] == name)], "return_mean", name, "std")
    ax.set_title(panel.title, fontsize=9)
    data = part.loc[part["kind"] == "data", "return_mean"]
    ax.axhline(data.mean(), color=COLOURS["data"], ls="--", lw=1, label=MEAN)
    if lacks:
        ax.set_xlabel(
            textwrap.fill(f"not yet: {', '.join(lacks)}", 34, break_on_hyphens=False), **{**TEXT, "fontsize": 6.5}
        )


def losses(rows, title):
    """Draw what would show divergence: L_Q, Q_tot, the largest gradient norm before clipping, w_q and w_v over steps.

    A row of panels for each data set, one more for the ablations on it. A line is the mean over seeds, its band runs
    from the lowest seed to the highest. Dashed: the mean discounted return-to-go in the data.

    Args:
        rows: prepared rows; of kind value, or eval where values and policy are learned side by side or there are no values.
        title: of the legend.
    """
    evals = rows[rows["kind"].isin(["value", "eval"])]
    evals = evals.assign(valued=evals.reindex(columns=["q_tot"]).notna())
    of_cell = evals.groupby(["map", "level", "ratio", "line"])["valued"].transform("any")
    evals = evals[evals["valued"] | ~of_cell]
    norms = evals[[c for c in evals if c.startswith("norm_") and c.endswith("_max")]].max(axis=1)
    evals = evals.assign(norm=norms, ablation=evals["line"] != evals["algorithm"])
    groups = list(evals.groupby(["map", "level", "ratio", "ablation"], sort=False))
    figure, axes = grid([1.5] * len(groups), 4, PAGE)
    for ax, head in zip(axes[0], HEADS, strict=True):
        ax.set_title(head, fontsize=8.5)
    for line, ((name, level, ratio, ablation), part) in zip(axes, groups, strict=True):
        for x, group in part.groupby("line", sort=False):
            for ax, column in zip(line, ("L_Q", "q_tot", "norm", "w_q"), strict=True):
                _line(ax, group, column, x, "range", marker="", ls="--" if ablation else DASHES.get(x, "-"))
            _line(line[3], group, "w_v", x, None, marker="", ls=":", label="_")
        if "return_followed" in part and part["return_followed"].notna().any():
            line[1].axhline(part["return_followed"].mean(), color=COLOURS["data"], ls="--", lw=1)
        for ax in (line[0], line[2]):
            _log(ax)
        for ax in line:
            if not ax.lines:
                _empty(ax, "not logged")
        line[0].set_ylabel(f"{name}\n{level}, {ratio} %" + ("\nablations" if ablation else ""), fontsize=8)
    return _finish(figure, axes, title)


def switches(rows, lines, title):
    """Draw settings side by side over gradient steps: return, Q_tot over the returns-to-go, the spread of exp(beta A).

    Q_tot is divided by the mean discounted return-to-go of the same rewards, because a reward on another scale has
    returns on another. At 1 their means are equal, which is no convergence. A line is the mean over seeds, its band one
    std, ddof 0. Where values are learned first, the steps of their panels are theirs, and those of the others the policies'.

    Args:
        rows: prepared rows of one data set; those of kind value and eval count.
        lines: keys of LABEL.
        title: of the legend.
    """
    evals, values = rows[rows["kind"] == "eval"], value_rows(rows)
    if len(values):
        values = values.assign(value_ratio=values["q_tot"] / values["return_followed"])
    columns = {
        "return_mean": "return (0-20)",
        "value_ratio": "$Q_{tot}$ / return-to-go",
        "q_correlation": "correlation of $Q_{tot}$ and return-to-go",
        "weight_std": r"std of $\exp(\beta A)$",
    }
    figure, axes = grid([1.7, 1.7], 2, PAGE)
    for ax, (column, head) in zip(axes.flat, columns.items(), strict=True):
        ax.set_title(head, fontsize=9)
        logged = values if column in ("value_ratio", "q_correlation") else evals
        for name in lines:
            _line(ax, logged[logged["line"] == name], column, name, "std")
        if not ax.lines:
            _empty(ax, "not run yet")
    axes[0, 1].axhline(1, color=COLOURS["data"], ls="--", lw=1)
    _log(axes[1, 1])
    return _finish(figure, axes, title)


def crossings(rows, title):
    """Draw where OMAC's values cross the returns in the data: mean Q_tot over the mean return-to-go, a panel a level.

    A line for each map, the mean over seeds on all episodes. Its band runs from the lowest seed to the highest, and a
    ring marks where the mean first reaches 1, the dashed line. A level without rows is left out, and named in the title.
    Values that have crossed it may go on moving.

    Args:
        rows: prepared rows; those of kind value and eval and of OMAC itself count, where they have values.
        title: of the legend.
    """
    evals = value_rows(rows[(rows["line"] == "omac") & (rows["ratio"] == 100)])
    levels = [level for level in LEVELS if level in set(evals["level"])]
    figure, axes = grid([2.4], max(1, len(levels)), PAGE)
    for ax, level in zip(axes[0], levels, strict=False):
        ax.set_title(level, fontsize=9)
        for name, colour in zip(evals["map"].unique(), SHADES, strict=False):
            part = evals[(evals["map"] == name) & (evals["level"] == level)]
            if part.empty:
                continue
            by_step = (part["q_tot"] / part["return_followed"]).groupby(part["step"])
            mean, x = by_step.mean(), by_step.mean().index.to_numpy(float) / 1000
            ax.plot(x, mean, color=colour, lw=1.2, label=name)
            ax.fill_between(x, by_step.min(), by_step.max(), color=colour, alpha=0.15, lw=0)
            there = np.flatnonzero(mean >= 1)[:1]
            ax.plot(x[there], mean.to_numpy()[there], "o", mfc="none", color=colour)
        ax.axhline(1, color=COLOURS["data"], ls="--", lw=1)
    _share(axes[0])
    figure.supylabel("$Q_{tot}$ / return-to-go", fontsize=9)
    return _finish(figure, axes, _name_absent(title, [level for level in LEVELS if level not in levels]))


def _line(ax, group, column, name, band, **style):
    """Draw the mean over seeds of a column over steps, in thousands, with a band ("std", "range" or None).

    Draw nothing where the column is missing or empty.
    """
    if column not in group or group[column].isna().all():
        return
    by_step = group.groupby("step")[column]
    mean, std = by_step.mean(), by_step.std(ddof=0)
    x = mean.index.to_numpy(float) / 1000
    style = {"label": LABEL[name], "marker": MARKERS[name], "ms": 3, "lw": 1.2, "zorder": 2 + (name == "omac"), **style}
    ax.plot(x, mean, color=COLOURS[name], **style)
    low, high = (mean - std, mean + std) if band == "std" else (by_step.min(), by_step.max())
    if band:
        ax.fill_between(x, low, high, color=COLOURS[name], alpha=0.15, lw=0)


def _share(axes):
    """Give panels one scale."""
    ends = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


def _name_absent(title, names):
    """Add to a title the panels that are left out."""
    return title if not names else f"{title}\n" + textwrap.fill(f"not run yet: {', '.join(names)}", 92)


def _log(ax):
    """Give a panel a log axis, with the ticks of TICKS."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    subs = next(ticks for ratio, ticks in TICKS if high < ratio * low)
    ax.yaxis.set(major_locator=LogLocator(subs=subs), minor_locator=NullLocator(), major_formatter="{x:g}")


def _empty(ax, words):
    """Write words in the middle of an empty panel."""
    ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, **TEXT)
    ax.set(xticks=[], yticks=[])


def _finish(figure, axes, title):
    """Add the title and one legend above all panels, and below them the axis that they share. Panels not used are hidden."""
    titled_legend(figure, axes, title, last=(MEAN,))
    figure.supxlabel("gradient steps (thousands)", fontsize=9)
    for ax in axes.flat:
        if ax.lines:
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        elif not ax.texts:
            ax.axis("off")
    return figure

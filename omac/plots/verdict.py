"""The verdicts as one figure, a line for each statistic behind them."""

import matplotlib as mpl
from matplotlib.figure import Figure

from omac.claims.evidence import RATIO
from omac.claims.report import SAID, each_part
from omac.plots.style import STYLE

SIDES = {"for": "#0072B2", "against": "#D55E00", "open": "#777777"}
SIGNS = {"for": "o", "against": "X", "open": "D"}


def forest(verdicts, title):
    """A line per statistic: value, interval, and in black the bar (±: two) it is held against; a panel for each unit.
    Ratios have a log axis.

    Colour and marker say where the interval lies: as claimed, the other way, or undecided. Left the statistic and the
    claims that it decides. Raises ValueError when no claim has a statistic yet.
    """
    panels = {}
    for part, ids in each_part(verdicts):
        panels.setdefault(part.unit, []).append((part, ids))
    if not panels:
        raise ValueError("no claim has a statistic: run cells of the study first (`make repro`)")
    heights = [len(x) + 1.5 for x in panels.values()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.19 * sum(heights) + 0.8), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for ax, (unit, lines) in zip(axes, panels.items(), strict=True):
        for y, (p, _) in enumerate(lines):
            style = {"color": SIDES[p.says], "label": SAID[p.says]}
            ax.plot([p.low, p.high], [y, y], lw=1.6, solid_capstyle="butt", color=style["color"])
            ax.plot(p.value, y, SIGNS[p.says], ms=4.5, ls="", **style)
            for bar in (-p.bar, p.bar) if p.side == "within" else (p.bar,):
                ax.plot([bar, bar], [y - 0.45, y + 0.45], color="black", lw=1)
        words = [f"{p.what}  ({', '.join(ids)})" for p, ids in lines]
        ax.set(ylim=(len(lines) - 0.4, -0.6), yticks=range(len(lines)))
        ax.set_yticklabels(words, fontsize=7)
        ax.set_xlabel(unit, fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(axis="y", visible=False)
        if unit == RATIO:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter("{x:g}")
    found = {label: h for ax in axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    found = {label: found[label] for label in SAID.values() if label in found}
    figure.legend(
        found.values(),
        found,
        title=title,
        loc="outside upper center",
        ncols=3,
        fontsize=8,
        title_fontsize=9,
        frameon=False,
    )
    return figure

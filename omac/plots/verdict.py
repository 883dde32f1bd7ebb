"""The verdicts as one figure, a line for each statistic behind them."""

import matplotlib as mpl
from matplotlib.figure import Figure

from omac.claims.evidence import STD_RATIO
from omac.claims.report import SAID, each_part
from omac.plots.style import PAGE, STYLE, titled_legend

SIDES = {"for": "#0072B2", "against": "#D55E00", "open": "#777777"}
SIGNS = {"for": "o", "against": "X", "open": "D"}


def forest(verdicts, title):
    """Draw a line per statistic: value, interval, and in black the threshold (±: two) it is compared with; a panel for each unit.
    Ratios have a log axis.

    Colour and marker say where the interval lies: as claimed, the other way, or undecided. Left the statistic and the
    claims that it decides; claims that hold one statistic against several bars, with the same outcome, share a line. Raises ValueError when no claim has a statistic yet.
    """
    panels = {}
    for part, ids in each_part(verdicts):
        lines = panels.setdefault(part.unit, {})
        same = lines.setdefault((part.what, part.value, part.low, part.high, part.says), ([], []))
        same[0].append(part)
        same[1].extend(x for x in ids if x not in same[1])
    if not panels:
        raise ValueError("no claim has a statistic: run cells of the study first (`make repro`)")
    heights = [len(x) + 1.5 for x in panels.values()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PAGE, 0.19 * sum(heights) + 0.8), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for ax, (unit, lines) in zip(axes, panels.items(), strict=True):
        for y, (parts, _) in enumerate(lines.values()):
            p = parts[0]
            style = {"color": SIDES[p.says], "label": SAID[p.says]}
            ax.plot([p.low, p.high], [y, y], lw=1.6, solid_capstyle="butt", color=style["color"])
            ax.plot(p.value, y, SIGNS[p.says], ms=4.5, ls="", **style)
            for bar in {b for p in parts for b in ((-p.bar, p.bar) if p.side == "within" else (p.bar,))}:
                ax.plot([bar, bar], [y - 0.45, y + 0.45], color="black", lw=1)
        words = [f"{parts[0].what}  ({', '.join(ids)})" for parts, ids in lines.values()]
        ax.set(ylim=(len(lines) - 0.4, -0.6), yticks=range(len(lines)))
        ax.set_yticklabels(words, fontsize=7)
        ax.set_xlabel(unit, fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(axis="y", visible=False)
        if unit == STD_RATIO:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter("{x:g}")
    titled_legend(figure, axes, title)
    return figure

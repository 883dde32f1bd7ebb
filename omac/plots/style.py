"""All styling: colours, sizes, panels, and `save`, which writes the same bytes every time."""

import io
import textwrap
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from omac.paths import FIGURES, atomic
from omac.schema import LABEL, PUBLISHED, SENSITIVITY, VARIANTS

SHADES = ("#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7")  # Okabe-Ito, safe for colour-blind readers
COLOURS = {  # of a line, a key of schema.LABEL
    **dict(zip(VARIANTS, SHADES, strict=True)),
    **dict(zip(SENSITIVITY, SHADES, strict=False)),
    "omac": "#0072B2",
    "bc": "#E69F00",
    "icq": "#009E73",
    "omar": "#CC79A7",
    "bcq": "#56B4E9",
    "cql": "#D55E00",
    "data": "#555555",
}
LEVEL_COLOURS = {"poor": "#D55E00", "medium": "#E69F00", "good": "#009E73"}
LEVEL_MARKERS = {"poor": "v", "medium": "s", "good": "o"}
LEVEL_DASHES = {"poor": ":", "medium": "--", "good": "-"}
MARKERS = dict(zip(("omac", "icq", "omar", "bcq", "cql", "bc", *VARIANTS, *SENSITIVITY), "os^vDXs^vDXs^v", strict=True))
# other variants stand beside their own algorithm at most: any shade tells them apart
COLOURS |= dict(zip([x for x in LABEL if x not in COLOURS], cycle(SHADES)))  # noqa: B905, the shades begin again
MARKERS |= {x: "P" for x in LABEL if x not in MARKERS}
DASHES = {
    "bc": "--",
    "icq": "-.",
    "omar": ":",
    "bcq": (0, (5, 1, 1, 1, 1, 1)),
    "cql": (0, (1, 1)),
}  # without colours too
PAGE = 7.0  # inches: the width of a page of a paper with two columns
WIDE = 112  # characters of a title in a line of the page
TEXT = {"fontsize": 8, "color": "#666666"}
BATTLE = "battle-steps (millions)"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 130,
    "svg.hashsalt": "omac",
}


def panels(width, height, columns=1):
    """Return a figure of one row of panels, `width` and `height` in inches, and its axes [columns]."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, axes


def grid(heights, columns, width):
    """Return a figure of rows of panels, `heights` and `width` in inches, and its axes [rows, columns]."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, sum(heights) + 0.9), layout="constrained")
        return figure, figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)


def titled_legend(figure, axes, title, ncols=7, last=()):
    """Add a title and one legend for all panels, on a strip of their own above them. Long titles are wrapped to the page.

    Args:
        figure, axes: axes of any shape; a label that several panels have is named once.
        title: text above the legend.
        ncols: labels in a line.
        last: labels that come after the others.
    """
    found = {}
    for ax in np.ravel(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    found = {label: found[label] for label in sorted(found, key=lambda x: x in last)}
    title = "\n".join(textwrap.fill(line, WIDE) for line in title.split("\n"))
    if not found:
        figure.suptitle(title, fontsize=9)
        return
    style = {"ncols": _columns(list(found), ncols), "fontsize": 8, "title_fontsize": 9, "frameon": False}
    figure.legend(found.values(), found, title=title, loc="outside upper center", **style)


def _columns(labels, most, width=100):
    """Return in how many columns a legend's labels fit a page: `width` is in characters, seven of them for each sign."""
    for columns in range(min(most, len(labels)), 1, -1):
        rows = -(-len(labels) // columns)
        if sum(max(map(len, labels[i : i + rows])) + 7 for i in range(0, len(labels), rows)) <= width:
            return columns
    return 1


def save(figure, path):
    """Write a figure as PNG of at most 256 colours, a third of the size, atomically and without dates. Returns the path."""
    with mpl.rc_context(STYLE), atomic(path) as part:
        full = io.BytesIO()
        figure.savefig(full, format="png", metadata={"Software": None})
        Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(part, "PNG", optimize=True)
    return path


def save_both(figure, path):
    """Write a figure as PNG, by `save`, and beside it as SVG; same figure, same bytes. Returns the PNG's path."""
    with mpl.rc_context(STYLE), atomic(path.with_suffix(".svg")) as part:
        _settle(figure)
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
    return save(figure, path)


def save_figure(figure, name):
    """Write figures/<name>.png and .svg, the same bytes every time. Returns the path of the PNG."""
    return save_both(figure, FIGURES / f"{name}.png")


def temperature_name(name):
    """Name a temperature of params.yaml as figures do: "beta 15"; the published one is the paper's."""
    return "paper" if name == PUBLISHED else name.replace("_", " ")


def _settle(figure):
    """Lay the panels out for good, at rounded places: the solver's last digits differ between runs, and SVG's ids are made of them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        ax.set_position([round(x, 6) for x in ax.get_position().bounds])

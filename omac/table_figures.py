"""Figures of the statistics, and SVG files beside the PNG ones."""

from functools import partial

import matplotlib as mpl
import numpy as np

from omac.figures import COLOURS, LABELS, STYLE, _figure, save
from omac.paths import atomic
from omac.statistics import interval, profile

DASHES = {
    "bc": "--",
    "icq": "-.",
    "omar": ":",
    "bcq": (0, (5, 1, 1, 1, 1, 1)),
    "cql": (0, (1, 1)),
}  # without colours too


def save_both(figure, path):
    """Write a figure as PNG, by `figures.save`, and beside it as SVG; same figure, same bytes. Returns the PNG's path."""
    with mpl.rc_context(STYLE), atomic(path.with_suffix(".svg")) as part:
        _settle(figure)
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
    return save(figure, path)


def _settle(figure):
    """Lay the panels out for good, at rounded places: the solver's last digits differ between runs, and SVG's ids are made of them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        ax.set_position([round(x, 6) for x in ax.get_position().bounds])


def profiles(scores, algorithms, data_sets, title):
    """Performance profiles (Agarwal et al. 2021): the share of runs above each return, and above each win rate.

    scores      {algorithm: {data set: [2, seeds]}}, return and win rate, as `comparison.runs` gives them
    algorithms, data_sets  what to draw; every algorithm has every data set
    Bands are 95 % stratified bootstrap intervals over seeds.
    """
    figure, axes = _figure(7.2, 3.0, 2)
    for ax, row, label, top in ((axes[0], 0, "return (0-20)", 20), (axes[1], 1, "win rate", 1)):
        at = np.linspace(0, top, 201)
        for name in algorithms:
            runs = [scores[name][d][row] for d in data_sets]
            low, high = interval(partial(profile, thresholds=at), runs)
            ax.plot(at, profile(runs, at), color=COLOURS[name], ls=DASHES.get(name, "-"), label=LABELS[name])
            ax.fill_between(at, low, high, color=COLOURS[name], alpha=0.15, lw=0)
        ax.set(xlabel=label, ylabel="share of runs above" if row == 0 else "", ylim=(-0.02, 1.02), xlim=(0, top))
    axes[0].legend(loc="lower left", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure

"""Performance profiles of the runs."""

from functools import partial

import numpy as np

from omac.analysis.statistics import interval, profile
from omac.plots.style import COLOURS, DASHES, PAGE, panels, titled_legend
from omac.schema import LABEL


def profiles(scores, algorithms, data_sets, title):
    """Performance profiles (Agarwal et al. 2021): the share of runs above each return, and above each win rate.

    scores      {algorithm: {data set: [2, seeds]}}, return and win rate, as `comparison.runs` gives them
    algorithms, data_sets  what to draw; every algorithm has every data set
    Bands are 95 % stratified bootstrap intervals over seeds.
    """
    figure, axes = panels(PAGE, 3.1, 2)
    for ax, row, label, top in ((axes[0], 0, "return (0-20)", 20), (axes[1], 1, "win rate", 1)):
        at = np.linspace(0, top, 201)
        for name in algorithms:
            runs = [scores[name][d][row] for d in data_sets]
            low, high = interval(partial(profile, thresholds=at), runs)
            ax.plot(at, profile(runs, at), color=COLOURS[name], ls=DASHES.get(name, "-"), label=LABEL[name])
            ax.fill_between(at, low, high, color=COLOURS[name], alpha=0.15, lw=0)
        ax.set(xlabel=label, ylabel="share of runs above" if row == 0 else "", ylim=(-0.02, 1.02), xlim=(0, top))
    titled_legend(figure, axes, title)
    return figure

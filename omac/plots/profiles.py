"""Performance profiles of the runs."""

from functools import partial

import numpy as np

from omac.analysis.statistics import interval, profile
from omac.plots.style import COLOURS, DASHES, PAGE, panels, titled_legend
from omac.schema import LABEL


def profiles(scores, algorithms, data_sets, title):
    """Draw performance profiles (Agarwal et al. 2021): the share of runs above each gain over BC, in return and in win rate.

    scores      {algorithm: {data set: [2, seeds]}}, return and win rate, as `comparison.runs_over_bc` gives them
    algorithms, data_sets  what to draw; every algorithm has every data set
    The line at 0 is BC's mean on each data set, taken as it was measured. Bands are 95 % at each gain, Clopper and Pearson's.
    """
    figure, axes = panels(PAGE, 3.1, 2)
    for ax, row, label, unit in (
        (axes[0], 0, "return over BC's mean (points)", 1.0),
        (axes[1], 1, "win rate over BC's mean", 0.1),
    ):
        drawn = {name: [scores[name][d][row] for d in data_sets] for name in algorithms}
        ends = [f(x) for runs in drawn.values() for x in runs for f in (np.min, np.max)]
        low, high = np.floor(min(0, *ends) / unit) * unit, np.ceil(max(0, *ends) / unit) * unit
        at = np.linspace(low, high, 201)
        for name, runs in drawn.items():
            band = interval(partial(profile, thresholds=at), runs)
            ax.plot(at, profile(runs, at), color=COLOURS[name], ls=DASHES.get(name, "-"), label=LABEL[name])
            ax.fill_between(at, *band, color=COLOURS[name], alpha=0.1, lw=0)
        ax.axvline(0, color=COLOURS["data"], lw=1)
        ax.set(xlabel=label, ylabel="share of runs above" if row == 0 else "", ylim=(-0.02, 1.02), xlim=(low, high))
    titled_legend(figure, axes, title)
    return figure

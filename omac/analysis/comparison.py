"""Our runs, algorithm against algorithm: result rows -> gains over BC by data set -> their means, probability of improvement.

What is pooled over data sets is by how much a run exceeds the mean of BC on its data set, in points of return. Raw returns
are not: the data sets' means lie far apart, so that the middle half of all returns is a choice of data sets, not of runs.
"""

import pandas as pd

from omac.analysis.select import choose
from omac.analysis.statistics import gains_over, improvement, interval, iqm_gain, mean_gain
from omac.schema import NAMES, SET

BASE = "bc"  # what gains are over


def runs(rows):
    """{algorithm: {data set: [2, seeds]}}: return and win rate of the last policies; of "data" its own means, one run each.

    rows: of one simulator and profile, as `choose` gives them. Cells that were not fought are left out.
    """
    last = rows[rows["kind"].isin(["final", "data"])].dropna(subset="return_mean")
    return {
        name: {d: x[["return_mean", "win_rate"]].to_numpy().T for d, x in cell.groupby(SET)}
        for name, cell in last.groupby("algorithm")
        if name in NAMES
    }


def runs_over_bc(scores):
    """`scores`, as `runs` gives them, of all but BC, minus BC's mean as it was measured on the same data set."""
    base = _base(scores)
    found = {
        a: {d: gains_over([x], [base[d]])[0] for d, x in of.items() if d in base}
        for a, of in scores.items()
        if a != BASE
    }
    return {a: of for a, of in found.items() if of}


def _base(scores):
    if BASE not in scores:
        raise ValueError(
            f"no scores of {NAMES[BASE]}, which gains are over; there are {', '.join(scores)}: run its cells"
        )
    return scores[BASE]


def compare_algorithms(rows, algorithm="omac", env="smax", profile="laptop", chosen=None):
    """Return one line per algorithm: gains over BC, pooled over data sets, and how likely `algorithm` beats it.

    Over the data sets that both and BC have, tidy result rows at the temperatures `chosen`, as in `at_temperatures`. Mean and interquartile mean of
    the gains in points of return, mean gain in win rate, with 95 % intervals over seeds (`statistics.interval`), in which
    BC's own seeds count too; the data's own means have none, and BC's gain is 0 by definition. P(...) is of the return; 0.5
    is no difference. Raises ValueError when `algorithm` or BC has no scores.
    """
    scores = runs(choose(rows, env, profile, chosen))
    if algorithm not in scores:
        raise ValueError(f"no scores of {algorithm!r} in {env} at profile {profile}; there are {', '.join(scores)}")
    base, lines = _base(scores), []
    for name in (n for n in NAMES if n in scores):
        both = sorted(set(scores[algorithm]) & set(scores[name]) & set(base))
        if not both:
            continue
        (ours, _), (x, win), (bc, bc_win) = (
            zip(*(scores[a][d] for d in both), strict=True) for a in (algorithm, name, BASE)
        )
        over, its_own = f"{env.upper()} {{}} over {NAMES[BASE]}, {{}}".format, name in (BASE, "data")
        line = {"algorithm": NAMES[name], "data sets": len(both), "runs": sum(map(len, x))}
        line[over("gain", "mean")] = _with_interval(mean_gain, x, bc, alone=its_own)
        line[over("gain", "IQM")] = "" if name == BASE else _with_interval(iqm_gain, x, bc, alone=its_own)
        line[over("win rate", "mean")] = _with_interval(mean_gain, win, bc_win, alone=its_own)
        line[f"{NAMES[algorithm]}'s IQM there"] = "" if algorithm == BASE else f"{iqm_gain(ours, bc):.2f}"
        if name == "data":  # a number that is known, in the place of as many runs
            x = [y.repeat(len(z)) for y, z in zip(x, ours, strict=True)]
        line[f"P({NAMES[algorithm]} better)"] = "" if name == algorithm else _with_interval(improvement, ours, x)
        lines.append(line)
    return pd.DataFrame(lines)


def _with_interval(statistic, *groups, alone=False):
    """ "0.39 [-0.10, 0.80]": a statistic and its interval, or the number `alone`."""
    low, high = interval(statistic, *groups)
    return f"{round(float(statistic(*groups)), 2) + 0.0:.2f}" + ("" if alone else f" [{low:.2f}, {high:.2f}]")


def shared(scores):
    """Return the data sets and algorithms that can be drawn in one figure: every algorithm has every data set.

    scores: as `runs` gives them. The largest set of algorithms that some data set has, and all data sets that have it.
    Returns ([algorithm, ...], [data set, ...]); the data's own means do not count as an algorithm.
    """
    have = {d: {a for a in scores if a != "data" and d in scores[a]} for a in scores for d in scores[a]}
    most = max(have.values(), key=lambda x: (len(x), sorted(x)))
    return [a for a in NAMES if a in most], sorted(d for d, x in have.items() if most <= x)

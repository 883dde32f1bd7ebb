"""Our runs, algorithm against algorithm: result rows -> scores by data set -> interquartile means, probability of improvement."""

import pandas as pd

from omac.analysis.select import choose
from omac.analysis.statistics import improvement, interval, iqm
from omac.schema import NAMES, SET


def runs(rows):
    """{algorithm: {data set: [2, seeds]}}: return and win rate of the last policies; of "data" its own means, one run each.

    rows: of one simulator and profile, as `choose` gives them. Cells that were not fought are left out.
    """
    last = rows[rows["kind"].isin(["final", "data"])].dropna(subset="return_mean")
    return {
        name: {d: x[["return_mean", "win_rate"]].to_numpy().T for d, x in cell.groupby(SET)}
        for name, cell in last.groupby("algorithm")
    }


def compare_algorithms(rows, algorithm="omac", env="smax", profile="laptop"):
    """One line per algorithm: interquartile means and how likely `algorithm` beats it, over the data sets that both have.

    rows: tidy result rows. Intervals are 95 % stratified bootstraps over seeds (omac/statistics.py); the data's own means
    have none. P(...) is of the return; 0.5 is no difference. Raises ValueError when `algorithm` has no scores.
    """
    scores = runs(choose(rows, env, profile))
    if algorithm not in scores:
        raise ValueError(f"no scores of {algorithm!r} in {env} at profile {profile}; there are {', '.join(scores)}")
    lines = []
    for name in (n for n in NAMES if n in scores):
        both = sorted(set(scores[algorithm]) & set(scores[name]))
        if not both:
            continue
        (ours, _), (x, win) = (zip(*(scores[a][d] for d in both), strict=True) for a in (algorithm, name))
        line = {"algorithm": NAMES[name], "data sets": len(both), "runs": sum(map(len, x))}
        for label, y in (("return", x), ("win rate", win)):
            line[f"{env.upper()} {label}, IQM"] = f"{iqm(y):.2f}" if name == "data" else _with_interval(iqm, y)
        line[f"{NAMES[algorithm]}'s return there"] = f"{iqm(ours):.2f}"
        line[f"P({NAMES[algorithm]} better)"] = "" if name == algorithm else _with_interval(improvement, ours, x)
        lines.append(line)
    return pd.DataFrame(lines)


def _with_interval(statistic, *groups):
    low, high = interval(statistic, *groups)
    return f"{statistic(*groups):.2f} [{low:.2f}, {high:.2f}]"


def shared(scores):
    """The data sets and algorithms that can be drawn in one figure: every algorithm has every data set.

    scores: as `runs` gives them. The largest set of algorithms that some data set has, and all data sets that have it.
    Returns ([algorithm, ...], [data set, ...]); the data's own means do not count as an algorithm.
    """
    have = {d: {a for a in scores if a != "data" and d in scores[a]} for a in scores for d in scores[a]}
    most = max(have.values(), key=lambda x: (len(x), sorted(x)))
    return [a for a in NAMES if a in most], sorted(d for d, x in have.items() if most <= x)

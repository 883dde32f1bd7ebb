"""What decides a claim of the paper: one small function per kind of test, on our rows.

A test takes a Study and returns (parts, missing): a Part for each statistic that the claim is about, and the
(data set, line) that it needs and that have not been run. A data set is (map, level, ratio).
"""

from functools import partial

import numpy as np
import pandas as pd

from omac.analysis import credit_weights
from omac.analysis.statistics import improvement, mean_std
from omac.claims.evidence import (
    ABLATED,
    BASELINES,
    CHANCE,
    CLOSE,
    POINTS,
    RARE,
    SHARE,
    P,
    R,
    complete,
    data_sets,
    least,
    mean_of_means,
    name_set,
    part,
    scores,
    so_far,
)
from omac.schema import DISTRIBUTIONS, LABEL, NAMES, read_table


def outperforms(study, others=tuple(BASELINES), column="return_mean", what="OMAC above"):
    """Abstract, 7: P(a run of OMAC has more of a column, the return) against each other line, over the data sets of Table 4."""
    parts, missing, found, wanted = [], [], scores(study, column), data_sets("table4")
    for name in others:
        both, lacks = complete(found, wanted, ("omac", name))
        groups = [[x[a].to_numpy() for x in both.values()] for a in ("omac", name)]
        if both:
            one, lacks = so_far(both, wanted, lacks, part(f"{what} {NAMES[name]}", P, improvement, groups, CHANCE))
            parts += one
        missing += lacks
    return parts, missing


def nearer(study, others=("bcq", "cql")):
    """1, 4.2.2: P(a run's mean Q_tot on battles held out lies nearer to the return that followed there), against baselines
    whose values ask for a maximum over actions of their own. (OMAR's values are CQL-MA's.)
    """
    values = study.rows.reindex(columns=["held_q_tot", "held_return_followed"]).astype(float)
    rows = study.rows.assign(nearness=-values.diff(axis=1).iloc[:, 1].abs())
    return outperforms(study._replace(rows=rows), others, "nearness", "values of OMAC nearer to the returns than of")


def consistently(study, name="table4", maps=None, only=""):
    """6.2, 6.3: on each data set the least of OMAC's returns minus a baseline's, seed by seed, over the four (`least`)."""
    wanted = [d for d in data_sets(name) if maps is None or d[0] in maps]
    have, missing = complete(scores(study), wanted, ("omac", *BASELINES))
    parts = []
    for d, x in have.items():
        gaps = [(x["omac"] - x[a]).to_numpy() for a in BASELINES]
        best = NAMES[x[BASELINES].mean().idxmax()]
        parts.append(least(f"{name_set(d)}: OMAC − {best}, the best baseline", gaps, only=only))
    return parts, missing


def _highest(omac, *others):
    ahead = [x.mean(-1) > np.max([y.mean(-1) for y in them], axis=0) for x, *them in zip(omac, *others, strict=True)]
    return np.mean(ahead, axis=0)


def most(study, maps=None):
    """1, 6.2: the share of the data sets of Table 4 where OMAC's mean is the highest of the five."""
    wanted = [d for d in data_sets("table4") if maps is None or d[0] in maps]
    have, missing = complete(scores(study), wanted, ("omac", *BASELINES))
    if not have:
        return [], missing
    groups = [[x[a].to_numpy() for x in have.values()] for a in ("omac", *BASELINES)]
    what = " ".join(["data sets", *(["of", " and ".join(maps)] if maps else []), "with OMAC highest"])
    return so_far(have, wanted, missing, part(what, SHARE, _highest, groups, CHANCE))


def drop(study, others=tuple(BASELINES)):
    """6.3: how much more return each other line loses with 50 and 10 % of the data than OMAC, seed by seed, mean of all levels."""
    parts, missing, found = [], [], scores(study)
    levels = dict.fromkeys(level for _, level, _ in data_sets("table1"))
    for ratio in (50, 10):
        for name in others:
            have, lacks = complete(found, [(ABLATED, x, r) for x in levels for r in (100, ratio)], ("omac", name))
            missing += lacks
            if not lacks:
                losses = [have[ABLATED, x, 100] - have[ABLATED, x, ratio] for x in levels]
                gaps = [(x[name] - x["omac"]).dropna().to_numpy() for x in losses]
                what = f"loss of {LABEL[name]} − OMAC's, 100 to {ratio} %"
                parts += [part(what, POINTS, mean_of_means, [gaps])] if all(map(len, gaps)) else []
    return parts, missing


def gain(study, pairs, column="return_mean", only=""):
    """6.4: first lines minus second lines, seed by seed, on the ablated data set: the least of all differences (`least`).

    pairs: (firsts, seconds, bar, side) each.
    """
    parts, missing, found = [], [], scores(study, column)
    prefix = "" if column == "return_mean" else "Q_tot, discounted: "
    for firsts, seconds, bar, side in pairs:
        have, lacks = complete(found, [(ABLATED, study.level, 100)], (*firsts, *seconds))
        missing += lacks
        what = f"{prefix}{_of('min', firsts)} − {_of('max', seconds)}, {study.level}"
        for x in have.values():
            parts.append(least(what, [(x[a] - x[b]).to_numpy() for a in firsts for b in seconds], bar, side, only))
    return parts, missing


def _of(extreme, lines):
    words = ", ".join(LABEL[x] for x in lines)
    return words if len(lines) == 1 else f"{extreme}({words})"


def _spread_gap(x, y):
    return mean_std(y)[1].mean(0) - mean_std(x)[1].mean(0)


def better_and_steadier(study, other="wo_cca"):
    """6.4.2: return of OMAC minus the other line's, seed by seed; and how much wider the other's returns spread over seeds."""
    parts, missing = gain(study, [(["omac"], [other], 0.0, "above")])
    have, _ = complete(scores(study), [(ABLATED, study.level, 100)], ("omac", other))
    groups = [[x[a].to_numpy() for x in have.values()] for a in ("omac", other)]
    what = f"std over seeds: {LABEL[other]} − OMAC, {study.level}"
    return parts + ([part(what, POINTS, _spread_gap, groups)] if have else []), missing


def correlated(study, control=None):
    """6.4.2, Figure 4: r of w_v and w_q of an agent, mean over agents, of each seed, for three choices of a_i.

    With a control: how much wider its r spreads over seeds.
    """
    lines = ("default", *([control] if control else []))
    path = credit_weights.path_of(f"{study.env}-{ABLATED}-{study.level}-100")
    found = credit_weights.correlations(read_table(path)) if path.exists() else pd.DataFrame({"variant": []})
    if not set(lines) <= set(found["variant"]):
        return [], [((ABLATED, study.level, 100), "credit weights")]
    wide = found[~found["seed"].isin(["pooled", "scaled"])].pivot(
        index=["a_i", "seed"], columns="variant", values="agent"
    )
    what = f"std of r over seeds: {LABEL[control]} − OMAC" if control else "r of w_v and w_q"
    return [
        part(
            f"{what}, {study.level}, a_i: {DISTRIBUTIONS[a]}",
            R,
            _spread_gap if control else mean_of_means,
            [[x[line].to_numpy()] for line in lines],
        )
        for a, x in wide.groupby("a_i")
    ], []


def igm(study):
    """4.1.1, Eq. (1): share of states where one agent leaving its local greedy action raises Q_tot, in the trained networks of
    OMAC. A lower bound (`omac.igm`): it can speak against the claim alone.
    """
    wanted = data_sets("table4")
    have, missing = complete(scores(study, "igm_violation"), wanted, ("omac",))
    if not have:
        return [], missing
    tasks = [x["omac"].to_numpy() for x in have.values()]
    broken = part("states that break Eq. (1), claimed below", SHARE, mean_of_means, [tasks], RARE, "below", "against")
    return so_far(have, wanted, missing, broken)


def nothing(study):
    """A sentence that no row can decide."""
    return [], []


def _both(*tests):
    return lambda study: tuple(sum(x, []) for x in zip(*(test(study) for test in tests), strict=True))


SUPER_HARD = ("6h_vs_8z", "corridor")  # those that 6.2 names
GAIN_OF_CVF = partial(gain, pairs=[(["omac"], ["wo_cvf"], 0.0, "above")])
TESTS = {
    "outperforms": outperforms,
    "consistently": _both(partial(consistently, only="for"), most),
    "consistently on super hard maps": _both(
        partial(consistently, maps=SUPER_HARD, only="for"), partial(most, maps=SUPER_HARD), GAIN_OF_CVF
    ),
    "consistently with less data": partial(consistently, name="table1"),
    "most": most,
    "drop": drop,
    "drop without a part": partial(drop, others=("wo_cca",)),
    "outperforms, and drop": _both(outperforms, drop),
    "gain of CVF": GAIN_OF_CVF,
    "better and steadier": better_and_steadier,
    "gain of in-sample values": partial(gain, pairs=[(["omac"], ["maxq"], 0.0, "above")]),
    "much better than CVF-maxQ": partial(gain, pairs=[(["omac"], ["maxq"], CLOSE, "above")]),
    "tau": partial(
        gain,
        pairs=[
            (["omac"], ["tau_08"], CLOSE, "within"),
            (["omac", "tau_08"], ["tau_05"], CLOSE, "above"),
        ],
    ),
    "overestimated": partial(gain, pairs=[(["maxq"], ["omac", "tau_08"], 0.0, "above")], column="q_tot", only="for"),
    "correlated": correlated,
    "coupling": partial(correlated, control="wo_cca"),
    "nearer": nearer,
    "igm": igm,
    "nothing": nothing,
}

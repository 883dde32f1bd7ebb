"""What decides a claim of the paper: one small function per kind of test, on our rows.

A test takes a Study and returns (parts, missing): a Part for each statistic that the claim is about, and the
(data set, line) that it needs and that have not been run. A data set is (map, level, ratio).
"""

from functools import partial

import numpy as np
import pandas as pd

from omac import weights
from omac.evidence import (
    ABLATED,
    BASELINES,
    CHANCE,
    CLOSE,
    KEYS,
    POINTS,
    RARE,
    SHARE,
    P,
    R,
    complete,
    data_sets,
    mean,
    named,
    part,
    scores,
)
from omac.results import NAMES
from omac.stability import why
from omac.statistics import improvement, mean_std
from omac.study_figures import DISTRIBUTIONS, LABEL


def outperforms(study):
    """Abstract, 7: P(a run of OMAC returns more) against each baseline, over the data sets of Table 4 that both have."""
    parts, missing, found = [], [], scores(study)
    for name in BASELINES:
        both, lacks = complete(found, data_sets("table4"), ("omac", name))
        missing += lacks
        groups = [[x[a].to_numpy() for x in both.values()] for a in ("omac", name)]
        parts += [part(f"OMAC above {NAMES[name]}", P, improvement, groups, CHANCE)] if both else []
    return parts, missing


def consistently(study, name="table4", maps=None):
    """6.2, 6.3: on each data set OMAC's return minus that of the baseline with the highest mean there, seed by seed.

    The best of four means is high by chance too: between equals this difference is a little below 0.
    """
    wanted = [d for d in data_sets(name) if maps is None or d[0] in maps]
    have, missing = complete(scores(study), wanted, ("omac", *BASELINES))
    parts = []
    for d, x in have.items():
        best = x[BASELINES].mean().idxmax()
        gaps = (x["omac"] - x[best]).to_numpy()
        parts.append(part(f"{named(d)}: OMAC − {NAMES[best]}, the best baseline", POINTS, mean, [[gaps]]))
    return parts, missing


def _highest(omac, *others):
    ahead = [x.mean(-1) > np.max([y.mean(-1) for y in them], axis=0) for x, *them in zip(omac, *others, strict=True)]
    return np.mean(ahead, axis=0)


def most(study):
    """1, 6.2: the share of the data sets of Table 4 where OMAC's mean is the highest of the five; one not run may be either."""
    wanted = data_sets("table4")
    have, missing = complete(scores(study), wanted, ("omac", *BASELINES))
    if not have:
        return [], missing
    groups = [[x[a].to_numpy() for x in have.values()] for a in ("omac", *BASELINES)]
    found, known = part("data sets with OMAC highest", SHARE, _highest, groups, CHANCE), len(have) / len(wanted)
    found = found._replace(low=found.low * known, high=found.high * known + 1 - known)
    return [found], missing if found.says == "open" else []


def drop(study, others=tuple(BASELINES)):
    """6.3: how much more return each other line loses with 50 and 10 % of the data than OMAC, seed by seed, mean of levels."""
    parts, missing, found = [], [], scores(study)
    levels = dict.fromkeys(level for _, level, _ in data_sets("table1"))
    for ratio in (50, 10):
        for name in others:
            gaps = []
            for level in levels:
                d = [(ABLATED, level, r) for r in (100, ratio)]
                have, lacks = complete(found, d, ("omac", name))
                missing += lacks
                loss = have[d[0]] - have[d[1]] if len(have) == 2 else pd.DataFrame({name: [], "omac": []})
                gaps += [g] if len(g := (loss[name] - loss["omac"]).dropna().to_numpy()) else []
            what = f"loss of {LABEL[name]} − OMAC's, 100 to {ratio} %"
            parts += [part(what, POINTS, mean, [gaps])] if gaps else []
    return parts, missing


def gain(study, pairs, column="return_mean"):
    """6.4: first line minus second, seed by seed, on the ablated data set. pairs: (first, second, bar, side) each."""
    parts, missing, found = [], [], scores(study, column)
    prefix = "" if column == "return_mean" else "Q_tot, discounted: "
    for first, second, bar, side in pairs:
        have, lacks = complete(found, [(ABLATED, study.level, 100)], (first, second))
        missing += lacks
        gaps = [(x[first] - x[second]).to_numpy() for x in have.values()]
        what = f"{prefix}{LABEL[first]} − {LABEL[second]}, {study.level}"
        parts += [part(what, POINTS, mean, [gaps], bar, side)] if gaps else []
    return parts, missing


def _spread_gap(x, y):
    return mean_std(y)[1].mean(0) - mean_std(x)[1].mean(0)


def better_and_steadier(study, other="wo_cca"):
    """6.4.2: return of OMAC minus the other line's, seed by seed; and how much wider the other's returns spread over seeds."""
    parts, missing = gain(study, [("omac", other, 0.0, "above")])
    have, _ = complete(scores(study), [(ABLATED, study.level, 100)], ("omac", other))
    groups = [[x[a].to_numpy() for x in have.values()] for a in ("omac", other)]
    what = f"std over seeds: {LABEL[other]} − OMAC, {study.level}"
    return parts + ([part(what, POINTS, _spread_gap, groups)] if have else []), missing


def correlated(study, control=None):
    """6.4.2, Figure 4: Pearson's r of w_v and w_q of each seed, for three choices of a_i; with a control, how much above its r."""
    lines = ("default", *([control] if control else []))
    path = weights.path(f"{study.env}-{ABLATED}-{study.level}-100")
    found = weights.correlations(pd.read_csv(path)) if path.exists() else pd.DataFrame({"variant": []})
    if not set(lines) <= set(found["variant"]):
        return [], [((ABLATED, study.level, 100), "credit weights")]
    wide = found[~found["seed"].isin(["pooled", "scaled"])].pivot(
        index=["a_i", "seed"], columns="variant", values="pearson"
    )
    r = wide["default"] - (wide[control] if control else 0)
    what = f"r of OMAC − r of {LABEL[control]}" if control else "r of w_v and w_q"
    return [
        part(f"{what}, {study.level}, a_i: {DISTRIBUTIONS[a]}", R, mean, [[x.to_numpy()]]) for a, x in r.groupby("a_i")
    ], []


def diverged(study, others=("omar", "bcq", "cql")):
    """1, 4.2.2: share of seeds that diverge (`stability.why`), of each line whose values ask actions of its own, minus OMAC's."""
    evals = study.rows[(study.rows["kind"] == "eval") & study.rows["line"].isin(["omac", *others])]
    found = evals.groupby([*KEYS, "line", "seed"])[list(evals)].apply(lambda x: float(bool(why(x)))).unstack("line")
    found = {d: x.droplevel(KEYS) for d, x in found.groupby(KEYS)}
    parts, missing = [], []
    for name in others:
        have, lacks = complete(found, data_sets("table4"), ("omac", name))
        missing += lacks
        gaps = [(x[name] - x["omac"]).to_numpy() for x in have.values()]
        parts += [part(f"diverged seeds: {NAMES[name]} − OMAC", SHARE, mean, [gaps])] if gaps else []
    return parts, missing


def igm(study):
    """4.1.1, Eq. (1): share of states where one agent leaving its local greedy action raises Q_tot, and by how much on average.

    Both are lower bounds (`omac.igm`), on the learned networks of OMAC.
    """
    parts, missing = [], []
    for column, what, unit, bar in (
        ("igm_violation", "states that break Eq. (1), claimed below", SHARE, RARE),
        ("igm_excess", "Q_tot that breaking Eq. (1) gains, claimed below", POINTS, CLOSE),
    ):
        have, missing = complete(scores(study, column), data_sets("table4"), ("omac",))
        tasks = [x["omac"].to_numpy() for x in have.values()]
        parts += [part(what, unit, mean, [tasks], bar, "below")] if tasks else []
    return parts, missing


def nothing(study):
    """A sentence that no row can decide."""
    return [], []


def _both(*tests):
    return lambda study: tuple(sum(x, []) for x in zip(*(test(study) for test in tests), strict=True))


TESTS = {
    "outperforms": outperforms,
    "consistently": consistently,
    "consistently on super hard maps": partial(consistently, maps=("6h_vs_8z", "corridor")),
    "consistently with less data": partial(consistently, name="table1"),
    "most": most,
    "drop": drop,
    "drop without a part": partial(drop, others=("wo_cca",)),
    "outperforms, and drop": _both(outperforms, drop),
    "gain of CVF": partial(gain, pairs=[("omac", "wo_cvf", 0.0, "above")]),
    "better and steadier": better_and_steadier,
    "gain of in-sample values": partial(gain, pairs=[("omac", "maxq", 0.0, "above")]),
    "much better than CVF-maxQ": partial(gain, pairs=[("omac", "maxq", CLOSE, "above")]),
    "tau": partial(
        gain,
        pairs=[
            ("omac", "tau_08", CLOSE, "within"),
            ("omac", "tau_05", CLOSE, "above"),
            ("tau_08", "tau_05", CLOSE, "above"),
        ],
    ),
    "overestimated": partial(gain, pairs=[("maxq", "omac", 0.0, "above")], column="q_tot"),
    "correlated": correlated,
    "coupling": partial(correlated, control="wo_cca"),
    "diverged": diverged,
    "igm": igm,
    "nothing": nothing,
}

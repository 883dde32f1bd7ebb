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
from omac.files import read_table
from omac.schema import DISTRIBUTIONS, LABEL, NAMES


def outperforms(study, others=tuple(BASELINES), column="return_mean", what="OMAC above"):
    """Estimate P(a run of OMAC has more return) against each other line, over the data sets of Table 4. Abstract, section 7.

    Args:
        study: Study.
        others: lines.
        column: the column that is compared.
        what: beginning of the Parts' names.
    """
    parts, missing = [], []
    found, wanted = scores(study, column), data_sets("table4")
    for name in others:
        have, lacks = complete(found, wanted, ("omac", name))
        if have:
            groups = [[x[line].to_numpy() for x in have.values()] for line in ("omac", name)]
            above = part(f"{what} {NAMES[name]}", P, improvement, groups, CHANCE)
            known, lacks = so_far(have, wanted, lacks, above)
            parts += known
        missing += lacks
    return parts, missing


def nearness(rows):
    """Return minus the distance of a run's mean Q_tot on held-out battles from the return that followed there, by row.

    NaN where rows lack one of the two.
    """
    values = rows.reindex(columns=["held_q_tot", "held_return_followed"]).astype(float)
    return -(values["held_q_tot"] - values["held_return_followed"]).abs()


def nearer(study, others=("bcq", "cql")):
    """Estimate P(a run of OMAC has values nearer to the returns) against each other line. Sections 1, 4.2.2.

    others: baselines whose values ask for a maximum over actions of their own. (OMAR's values are CQL-MA's.)
    """
    rows = study.rows.assign(nearness=nearness(study.rows))
    return outperforms(study._replace(rows=rows), others, "nearness", "values of OMAC nearer to the returns than of")


def consistently(study, name="table4", maps=None, only=""):
    """Compare OMAC's returns with the four baselines', seed by seed, on each data set: the least difference (`least`).

    Sections 6.2, 6.3. name: the table of the paper whose data sets count; maps: those of them that do, default all.
    """
    wanted = [d for d in data_sets(name) if maps is None or d[0] in maps]
    have, missing = complete(scores(study), wanted, ("omac", *BASELINES))
    parts = []
    for d, x in have.items():
        gaps = [(x["omac"] - x[a]).to_numpy() for a in BASELINES]
        best = NAMES[x[BASELINES].mean().idxmax()]
        parts.append(least(f"{name_set(d)}: OMAC − {best}, the best baseline", gaps, only=only))
    return parts, missing


def share_with_omac_highest(omac, *others):
    """Return the share of data sets on which OMAC's mean over seeds is above every other line's.

    omac, and each of others: one array [..., seeds] per data set. Leading axes are kept, as `statistics.interval` asks.
    """
    ahead = []
    for ours, *theirs in zip(omac, *others, strict=True):
        best = np.max([x.mean(-1) for x in theirs], axis=0)
        ahead.append(ours.mean(-1) > best)
    return np.mean(ahead, axis=0)


def most(study, maps=None):
    """Compute the share of the data sets of Table 4, of some maps or all, where OMAC has the highest mean. Sections 1, 6.2."""
    wanted = [d for d in data_sets("table4") if maps is None or d[0] in maps]
    have, missing = complete(scores(study), wanted, ("omac", *BASELINES))
    if not have:
        return [], missing
    groups = [[x[a].to_numpy() for x in have.values()] for a in ("omac", *BASELINES)]
    of = f" of {' and '.join(maps)}" if maps else ""
    share = part(f"data sets{of} with OMAC highest", SHARE, share_with_omac_highest, groups, CHANCE)
    return so_far(have, wanted, missing, share)


def drop(study, others=tuple(BASELINES)):
    """Compare the return that each other line loses with 50 and 10 % of the data with what OMAC loses. Section 6.3.

    Differences are taken seed by seed, and averaged over the levels of Table 1.
    """
    parts, missing, found = [], [], scores(study)
    levels = dict.fromkeys(level for _, level, _ in data_sets("table1"))
    for ratio in (50, 10):
        for name in others:
            have, lacks = complete(found, [(ABLATED, x, r) for x in levels for r in (100, ratio)], ("omac", name))
            missing += lacks
            if lacks:
                continue
            losses = [have[ABLATED, x, 100] - have[ABLATED, x, ratio] for x in levels]
            gaps = [(x[name] - x["omac"]).dropna().to_numpy() for x in losses]
            if all(len(gap) for gap in gaps):
                what = f"loss of {LABEL[name]} − OMAC's, 100 to {ratio} %"
                parts.append(part(what, POINTS, mean_of_means, [gaps]))
    return parts, missing


def gain(study, pairs, column="return_mean", only=""):
    """Compare lines seed by seed on the ablated data set: the least of all differences of each pair (`least`). Section 6.4.

    Args:
        study: Study.
        pairs: (firsts, seconds, bar, side) each. Differences are firsts minus seconds, each with each.
        column: the column that is compared.
        only: as in Part.
    """
    parts, missing, found = [], [], scores(study, column)
    prefix = "" if column == "return_mean" else "Q_tot, discounted: "
    for firsts, seconds, bar, side in pairs:
        have, lacks = complete(found, [(ABLATED, study.level, 100)], (*firsts, *seconds))
        missing += lacks
        what = f"{prefix}{name_extreme('min', firsts)} − {name_extreme('max', seconds)}, {study.level}"
        for x in have.values():
            gaps = [(x[a] - x[b]).to_numpy() for a in firsts for b in seconds]
            parts.append(least(what, gaps, bar, side, only))
    return parts, missing


def name_extreme(extreme, lines):
    """Name the "min" or "max" of several lines, "max(w/o CVF, w/o CCA)", or one line by itself."""
    words = ", ".join(LABEL[x] for x in lines)
    return words if len(lines) == 1 else f"{extreme}({words})"


def spread_gap(x, y):
    """Return how much larger the std over seeds of y is than that of x, mean over data sets; x, y: an array for each."""
    return mean_std(y)[1].mean(0) - mean_std(x)[1].mean(0)


def better_and_steadier(study, other="wo_cca"):
    """Compare OMAC's return with another line's, seed by seed, and the spread of both over seeds. Section 6.4.2."""
    parts, missing = gain(study, [(["omac"], [other], 0.0, "above")])
    have, _ = complete(scores(study), [(ABLATED, study.level, 100)], ("omac", other))
    if have:
        groups = [[x[line].to_numpy() for x in have.values()] for line in ("omac", other)]
        parts.append(part(f"std over seeds: {LABEL[other]} − OMAC, {study.level}", POINTS, spread_gap, groups))
    return parts, missing


def correlated(study, control=None):
    """Correlate w_v and w_q of an agent, mean over agents, of each seed, for three choices of a_i. Section 6.4.2, Figure 4.

    control: a line, or None. With one: how much wider its r spreads over seeds than OMAC's.
    """
    lines = ("default", *([control] if control else []))
    path = credit_weights.path_of(f"{study.env}-{ABLATED}-{study.level}-100")
    found = credit_weights.correlations(read_table(path)) if path.exists() else pd.DataFrame({"variant": []})
    if not set(lines) <= set(found["variant"]):
        return [], [((ABLATED, study.level, 100), "credit weights")]
    by_seed = found[~found["seed"].isin(["pooled", "scaled"])]
    wide = by_seed.pivot(index=["a_i", "seed"], columns="variant", values="agent")
    what = f"std of r over seeds: {LABEL[control]} − OMAC" if control else "r of w_v and w_q"
    statistic = spread_gap if control else mean_of_means
    parts = []
    for a, x in wide.groupby("a_i"):
        groups = [[x[line].to_numpy()] for line in lines]
        parts.append(part(f"{what}, {study.level}, a_i: {DISTRIBUTIONS[a]}", R, statistic, groups))
    return parts, []


def igm(study):
    """Average the share of states where one agent leaving its local greedy action raises OMAC's Q_tot. Section 4.1.1, Eq. (1).

    A lower bound (nn/igm.py): it can speak against the claim alone.
    """
    wanted = data_sets("table4")
    have, missing = complete(scores(study, "igm_violation"), wanted, ("omac",))
    if not have:
        return [], missing
    tasks = [x["omac"].to_numpy() for x in have.values()]
    broken = part("states that break Eq. (1), claimed below", SHARE, mean_of_means, [tasks], RARE, "below", "against")
    return so_far(have, wanted, missing, broken)


def nothing(study):
    """Test nothing: for a sentence that no row can decide."""
    return [], []


def all_of(*tests):
    """Return a test with the parts of several, and all that they miss."""

    def joined(study):
        parts, missing = [], []
        for test in tests:
            its_parts, its_missing = test(study)
            parts += its_parts
            missing += its_missing
        return parts, missing

    return joined


SUPER_HARD = ("6h_vs_8z", "corridor")  # those that 6.2 names
GAIN_OF_CVF = partial(gain, pairs=[(["omac"], ["wo_cvf"], 0.0, "above")])
TESTS = {
    "outperforms": outperforms,
    "consistently": all_of(partial(consistently, only="for"), most),
    "consistently on super hard maps": all_of(
        partial(consistently, maps=SUPER_HARD, only="for"), partial(most, maps=SUPER_HARD), GAIN_OF_CVF
    ),
    "consistently with less data": partial(consistently, name="table1"),
    "most": most,
    "drop": drop,
    "drop without a part": partial(drop, others=("wo_cca",)),
    "outperforms, and drop": all_of(outperforms, drop),
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

"""What decides a claim of the paper: one small function per kind of test, on our rows.

A test takes a Study and returns (parts, missing): a Part for each statistic that the claim is about, and the
(data set, line) that it needs and that have not been run. A data set is (map, level, ratio).
"""

from functools import partial

import pandas as pd

from omac.analysis import credit_weights
from omac.analysis.statistics import improvement, mean_correlation, share_highest, spread_ratio
from omac.claims.evidence import (
    ABLATED,
    BASELINES,
    CHANCE,
    CLOSE,
    NEGLIGIBLE,
    POINTS,
    SHARE,
    STD_RATIO,
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


def overestimation(rows):
    """Return by how much a run's values exceed what its own policy gets, in points of discounted return, by row.

    Its mean Q_tot where held-out episodes begin, minus the mean discounted return of its battles. The returns in the data
    are no yardstick: they are the behaviour policies', and values that stay there say nothing of a better policy. NaN where
    rows lack one of the two.
    """
    values = rows.reindex(columns=["q_tot_start", "discounted_mean"]).astype(float)
    return values["q_tot_start"] - values["discounted_mean"]


def nearer(study, others=("omar", "bcq", "cql")):
    """Estimate P(a run's values are nearer to its own policy's return in OMAC than in each other line). Sections 1, 4.2.2.

    others: baselines whose values ask a policy (OMAR) or for a maximum over actions of their own (BCQ-MA, CQL-MA).
    """
    rows = study.rows.assign(nearness=-overestimation(study.rows).abs())
    what = "values nearer to the own policy's return in OMAC than in"
    return outperforms(study._replace(rows=rows), others, "nearness", what)


def overestimated(study, line="maxq", others=("omac", "tau_08")):
    """Measure by how much the values of a line exceed its own policy's return: beyond 0, and beyond other lines'. Section 4.2.1.

    As they *could* be overestimated, one data set where they are not refutes nothing.
    """
    rows = study.rows.assign(overestimation=overestimation(study.rows))
    have, _ = complete(scores(study._replace(rows=rows), "overestimation"), [(ABLATED, study.level, 100)], (line,))
    what = f"Q_tot where episodes begin − the policy's discounted return: {LABEL[line]}, {study.level}"
    parts = [part(what, POINTS, mean_of_means, [[x[line].to_numpy()]], only="for") for x in have.values()]
    more, missing = gain(study._replace(rows=rows), [([line], others, 0.0, "above")], "overestimation", "for")
    return parts + more, missing


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


def most(study, maps=None):
    """Compute the share of the data sets of Table 4, of some maps or all, where OMAC has the highest mean. Sections 1, 6.2."""
    wanted = [d for d in data_sets("table4") if maps is None or d[0] in maps]
    have, missing = complete(scores(study), wanted, ("omac", *BASELINES))
    if not have:
        return [], missing
    groups = [[x[a].to_numpy() for x in have.values()] for a in ("omac", *BASELINES)]
    of = f" of {' and '.join(maps)}" if maps else ""
    share = part(f"data sets{of} with OMAC highest", SHARE, share_highest, groups, CHANCE)
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
    prefix = "" if column == "return_mean" else f"{column}: "
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


def better_and_steadier(study, other="wo_cca"):
    """Compare OMAC's return with another line's, seed by seed, and the spread of both over seeds. Section 6.4.2."""
    parts, missing = gain(study, [(["omac"], [other], 0.0, "above")])
    have, _ = complete(scores(study), [(ABLATED, study.level, 100)], ("omac", other))
    if have:
        groups = [[x[line].to_numpy() for x in have.values()] for line in ("omac", other)]
        parts.append(
            part(f"std over seeds: {LABEL[other]} / OMAC, {study.level}", STD_RATIO, spread_ratio, groups, 1.0)
        )
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
    what, unit, statistic, bar = "r of w_v and w_q", R, mean_correlation, 0.0
    if control:
        what, unit, statistic, bar = f"std of r over seeds: {LABEL[control]} / OMAC", STD_RATIO, spread_ratio, 1.0
    parts = []
    for a, x in wide.groupby("a_i"):
        groups = [[x[line].to_numpy()] for line in lines]
        parts.append(part(f"{what}, {study.level}, a_i: {DISTRIBUTIONS[a]}", unit, statistic, groups, bar))
    return parts, []


def igm(study):
    """Average by how much one agent leaving its local greedy action can raise OMAC's Q_tot. Section 4.1.1, Eq. (1).

    In points, over all states, 0 where it cannot. How many states are concerned says nothing: in a tenth of them the
    excess may be a ten-thousandth of a point. A lower bound (nn/igm.py): it can speak against the claim alone. It is never
    below 0 and skewed over seeds, so that its interval is a studentized bootstrap's.
    """
    wanted = data_sets("table4")
    have, missing = complete(scores(study, "igm_excess"), wanted, ("omac",))
    if not have:
        return [], missing
    tasks, what = (
        [x["omac"].to_numpy() for x in have.values()],
        "Q_tot that one agent can gain on Eq. (1), claimed below",
    )
    excess = part(what, POINTS, mean_of_means, [tasks], NEGLIGIBLE, "below", "against", repetitions=2_000)
    return so_far(have, wanted, missing, excess, largest=excess.high)  # the upper end decides nothing


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
    "overestimated": overestimated,
    "correlated": correlated,
    "coupling": partial(correlated, control="wo_cca"),
    "nearer": nearer,
    "nearer than values that ask a policy": partial(nearer, others=("omar",)),
    "igm": igm,
    "nothing": nothing,
}

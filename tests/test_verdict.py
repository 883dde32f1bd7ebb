"""The verdict on the paper's claims: what decides each, by which rule, and that it follows the rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ttest_ind

from omac.analysis import choice, credit_weights, paper_tables, results
from omac.analysis.select import prepare
from omac.claims import criteria, evidence, paper_numbers, report, verdicts
from omac.claims.evidence import Part, Study
from omac.files import read_table, write_csv
from omac.paths import ROOT
from omac.plots import verdict as plots_verdict

STUDY = read_table(ROOT / "data" / "results.csv")
CLAIMS = paper_tables.published("claims")
FIVE = ("omac", "icq", "omar", "bcq", "cql")
TWELVE, NINE = evidence.data_sets("table4"), evidence.data_sets("table1")
WORDS = {"for": verdicts.HOLDS, "against": verdicts.FAILS}


def cell(data_set, line, returns, kind="final", **columns):
    """Result rows of one cell, a row a seed; `line` is an algorithm or a variant of OMAC; columns {name: value}."""
    variant = "default" if line in FIVE else line
    about = dict(zip(("map", "level", "ratio"), data_set, strict=True))
    about |= {"env": "smax", "profile": "laptop", "kind": kind, "step": 8000, "episodes": 320, "win_rate": 0.5}
    about |= {"algorithm": line if line in FIVE else "omac", "variant": variant, **columns}
    return pd.DataFrame([{**about, "seed": seed, "return_mean": r} for seed, r in enumerate(returns)])


def around(mean):
    return [mean + x for x in (-0.2, -0.1, 0.0, 0.1, 0.2)]


def rows(wanted, **means):
    """Cells of all five algorithms on all `wanted` data sets: OMAC 12 and the others 10, but for `means`."""
    return pd.concat(cell(d, a, around(means.get(a, 12.0 if a == "omac" else 10.0))) for d in wanted for a in FIVE)


def study(table, level="poor"):
    return Study(prepare(table), "smax", level)


def word(test, table, level="poor"):
    return verdicts.decide(*criteria.TESTS[test](study(table, level)))


def test_claims_are_well_formed_and_each_names_a_test_that_exists():
    assert CLAIMS["id"].tolist() == [f"C{i + 1:02}" for i in range(len(CLAIMS))] and len(CLAIMS) >= 15
    assert CLAIMS[["section", "sentence", "test", "decides"]].map(len).gt(0).all(axis=None)
    assert not CLAIMS["sentence"].str.contains(r"\||\n").any() and not CLAIMS["sentence"].str.match(r"\s|.*\s$").any()
    assert set(CLAIMS["test"]) == {
        "cited",
        *criteria.TESTS,
        *paper_numbers.PRINTED,
    }  # none unknown, none without a claim
    assert not CLAIMS.duplicated(["sentence", "test"]).any()
    for _, claim in CLAIMS.iterrows():
        assert verdicts.cited(claim) or claim["test"] != "cited"


@pytest.mark.parametrize(
    ("low", "high", "bar", "side", "says"),
    [
        (0.1, 0.4, 0.0, "above", "for"),
        (-0.1, 0.4, 0.0, "above", "open"),
        (-0.4, -0.1, 0.0, "above", "against"),
        (0.0, 0.0, 0.0, "above", "open"),
        (0.1, 0.4, 0.5, "above", "against"),
        (0.0, 0.005, 0.01, "below", "for"),
        (0.02, 0.03, 0.01, "below", "against"),
        (-0.4, 0.5, 0.5, "within", "for"),
        (-0.6, 0.4, 0.5, "within", "open"),
        (-0.9, -0.6, 0.5, "within", "against"),
        (0.6, 0.9, 0.5, "within", "against"),
    ],
)
def test_an_interval_is_on_one_side_of_its_bar_or_undecided(low, high, bar, side, says):
    found = Part("", evidence.POINTS, (low + high) / 2, low, high, bar, side)
    assert found.says == says
    for only in ("for", "against"):  # a statistic that can speak one way alone
        assert found._replace(only=only).says == (says if says == only else "open")


def test_the_least_of_several_differences_is_above_when_all_are_and_below_when_one_is():
    def says(*means):
        found = evidence.least("", [mean + np.array([-0.2, -0.1, 0.0, 0.1, 0.2]) for mean in means])
        return round(found.value, 6), found.says

    assert says(2, 3, 4) == (2, "for") and says(2, 3, -1) == (-1, "against") and says(2, 3, 0.1) == (0.1, "open")
    assert says(-0.22) == (-0.22, "against")  # alone; as one of four it might be the worst by chance
    assert says(-0.22, 2, 2, 2) == (-0.22, "open")
    rng = np.random.default_rng(0)
    equal = [evidence.least("", x[0] - x[1:]).says for x in rng.normal(size=(800, 5, 5))]
    assert equal.count("against") / 800 < 0.05 and equal.count("for") / 800 < 0.05
    assert evidence.least("", [np.array([3.0])]).says == "open"  # one seed has no spread


def test_as_many_seeds_as_are_said_to_decide_do_decide():
    """Of scores whose mean and deviation stay: with one seed fewer the interval still crosses the bar."""

    def gaps(seeds, mean=0.5):
        x = np.arange(seeds) - (seeds - 1) / 2
        return evidence.part("", evidence.POINTS, evidence.mean_of_means, [[mean + x / x.std(ddof=1)]])

    now = gaps(5)
    needed = evidence.seeds_needed(now)
    assert now.says == "open" and now.seeds == 5
    assert [gaps(n).says for n in (needed - 1, needed)] == ["open", "for"]
    assert evidence.seeds_needed(gaps(5, 5.0)) == 5  # decided
    assert evidence.seeds_needed(gaps(5, 0.0)) is None  # on the bar
    assert evidence.seeds_needed(now._replace(only="against")) is None and not now._replace(only="against").can_decide
    near = now._replace(bar=1.0, side="within")  # decided one way or the other
    assert near._replace(low=0.5, high=0.5).says == "for" and evidence.seeds_needed(near) > 5
    assert report.in_seeds([now]) == f"about {needed} seeds would decide, 5 are there"
    assert report.in_seeds([gaps(5, 0.01)] * 2) == "more than 100 seeds would decide one of them, 5 are there"


def test_verdicts_are_counted_here_tuned_and_in_print():
    found = verdicts.verdicts(rows(TWELVE, icq=14.0))
    table = report.counts(found, found)
    assert list(table) == ["here", "tuned", "printed"] and (table.sum() == len(CLAIMS)).all()
    assert (table["here"] == table["tuned"]).all() and "tuned" not in report.counts(found)
    assert table.loc[verdicts.FAILS, "here"] == sum(v.word == verdicts.FAILS for v in found) > 0


def test_at_the_chosen_temperatures_other_rows_decide():
    cold, hot = rows(NINE[:1], omac=8.0), rows(NINE[:1], omac=14.0)
    table = pd.concat([cold.assign(temperature="published"), hot.assign(temperature="beta_15")])
    claims = CLAIMS[CLAIMS["test"] == "consistently with less data"]
    found = [verdicts.verdicts(table, claims=claims, chosen=x)[0] for x in (None, {"omac": "beta_15"})]
    lowest = [v.parts[0].value for v in found]
    assert found[0].word == verdicts.FAILS and lowest[0] < 0 < lowest[1]
    beside = report.verdict_table(found[:1], tuned=found[1:])
    assert list(beside)[:3] == ["", "verdict", "tuned"] and beside["tuned"][0].startswith(found[1].word)


@pytest.mark.parametrize(
    ("says", "missing", "expected"),
    [
        ("++", 0, verdicts.HOLDS),
        ("++", 1, verdicts.PARTLY),
        ("+-", 0, verdicts.PARTLY),
        ("+?", 0, verdicts.PARTLY),
        ("-?", 0, verdicts.FAILS),
        ("--", 1, verdicts.FAILS),
        ("??", 0, verdicts.UNDECIDED),
        ("??", 1, verdicts.NOT_RUN),
        ("", 0, verdicts.CANNOT),
        ("", 1, verdicts.NOT_RUN),
    ],
)
def test_the_word_follows_from_the_parts_and_from_what_is_missing(says, missing, expected):
    ends = {"+": (1.0, 2.0), "-": (-2.0, -1.0), "?": (-1.0, 1.0)}
    parts = [Part("", evidence.POINTS, 0.0, *ends[x], 0.0, "above") for x in says]
    assert verdicts.decide(parts, ["a cell"] * missing) == expected


@pytest.mark.parametrize(
    ("test", "wanted"),
    [("outperforms", TWELVE), ("consistently", TWELVE), ("consistently with less data", NINE), ("most", TWELVE)],
)
def test_better_than_the_baselines_holds_fails_or_waits_with_the_rows(test, wanted):
    assert word(test, rows(wanted)) == verdicts.HOLDS
    assert word(test, rows(wanted, omac=8.0)) == verdicts.FAILS
    assert word(test, rows(wanted[:1]).query("algorithm == 'omac'")) == verdicts.NOT_RUN
    one = word(test, rows(wanted[:1], omac=8.0))  # refutes what is said of *all tasks*, not a mean nor *most*
    assert one == (verdicts.FAILS if test == "consistently with less data" else verdicts.NOT_RUN)
    equal = word(test, rows(wanted, omac=10.0))  # as good as the others is not better, and highest it is not
    assert equal == (verdicts.FAILS if test in ("most", "consistently") else verdicts.UNDECIDED)


def test_better_than_some_baselines_holds_in_part():
    table = rows(TWELVE, icq=14.0)
    parts, missing = criteria.outperforms(study(table))
    assert {p.what: (p.value, p.says) for p in parts} == {
        "OMAC above ICQ": (0.0, "against"),
        **{f"OMAC above {name}": (1.0, "for") for name in ("OMAR", "BCQ-MA", "CQL-MA")},
    }
    assert word("outperforms", table) == verdicts.PARTLY and not missing
    assert word("consistently", table) == verdicts.FAILS  # the best baseline is ahead everywhere
    mixed = pd.concat([rows(TWELVE[:9]), rows(TWELVE[9:], icq=14.0)])
    assert [word(t, mixed) for t in ("consistently", "most")] == [verdicts.PARTLY, verdicts.HOLDS]


def test_super_hard_maps_are_two_and_their_cause_is_the_factorization():
    hard = "consistently on super hard maps"
    known, cause = rows(TWELVE).query("map in ('6h_vs_8z', 'corridor')"), {11: verdicts.HOLDS, 13: verdicts.PARTLY}
    for without, expected in cause.items():
        assert word(hard, pd.concat([known, cell(POOR, "wo_cvf", around(without))])) == expected
    assert word(hard, known) == verdicts.PARTLY and criteria.TESTS[hard](study(known))[1] == [(POOR, "wo_cvf")]
    lost = rows(TWELVE, omac=8.0).query("map in ('6h_vs_8z', 'corridor')")
    assert word(hard, lost) == verdicts.FAILS and word(hard, lost.query("level == 'good'")) == verdicts.NOT_RUN


def test_a_probability_over_data_sets_waits_until_those_that_are_missing_cannot_change_it():
    parts, missing = criteria.outperforms(study(rows(TWELVE[:3])))
    wilson = binomtest(15, 15).proportion_ci(method="wilson").low  # three data sets of five seeds
    assert {(p.value, p.high, p.says) for p in parts} == {(1.0, 1.0, "open")} and len(missing) == 9 * 5 + 27
    assert parts[0].low == pytest.approx(wilson * 3 / 12)
    parts, missing = criteria.outperforms(study(rows(TWELVE[:7])))
    assert [p.says for p in parts] == ["for"] * 4 and not missing
    assert word("outperforms", rows(TWELVE[:7], omac=8.0)) == verdicts.FAILS
    assert word("outperforms", rows(TWELVE[:5], omac=8.0)) == verdicts.NOT_RUN


def test_the_difference_is_to_the_baseline_that_is_best_there():
    part = criteria.consistently(study(rows(TWELVE[:1], icq=11.5)))[0][0]
    assert part.what == "5m_vs_6m good: OMAC − ICQ, the best baseline"
    assert (part.low, part.value, part.high) == pytest.approx((0.5, 0.5, 0.5))


def test_most_waits_until_the_data_sets_that_are_missing_cannot_change_it():
    for n, says in ((6, "open"), (7, "for")):
        (part,), missing = criteria.most(study(rows(TWELVE[:n])))
        assert (part.low, part.high, part.says) == (pytest.approx(n / 12), pytest.approx(1.0), says)
        assert bool(missing) == (says == "open")
    assert word("most", rows(TWELVE[:7])) == verdicts.HOLDS and word("most", rows(TWELVE[:6])) == verdicts.NOT_RUN
    assert word("most", rows(TWELVE[:7], omac=8.0)) == verdicts.FAILS
    assert word("most", rows(TWELVE[:5], omac=8.0)) == verdicts.NOT_RUN  # the other seven may still be won


def test_less_data_costs_the_baselines_more_or_not_and_cells_that_lack_are_named():
    def table(loss):
        return pd.concat(
            cell(d, a, around(15.0 - (d[2] < 100) * (1.0 if a == "omac" else loss.get(a, 3.0))))
            for d in NINE
            for a in FIVE
        )

    parts, missing = criteria.drop(study(table({"bcq": 0.5})))
    assert not missing and len(parts) == 8
    found = {p.what: (round(p.value, 6), p.says) for p in parts}
    assert found["loss of ICQ − OMAC's, 100 to 10 %"] == (2.0, "for")
    assert found["loss of BCQ-MA − OMAC's, 100 to 50 %"] == (-0.5, "against")
    assert word("drop", table({})) == verdicts.HOLDS and word("drop", table({"bcq": 0.5})) == verdicts.PARTLY
    assert word("drop", table(dict.fromkeys(FIVE[1:], 0.0))) == verdicts.FAILS
    two = table({}).query("level != 'poor'")  # a mean of three levels
    assert word("drop", two) == word("outperforms, and drop", two) == verdicts.NOT_RUN
    whole = table({}).query("ratio == 100")
    assert word("drop", whole) == verdicts.NOT_RUN
    assert report.lacking(criteria.drop(study(whole))[1]) == "all five: 6h_vs_8z, 50 %; all five: 6h_vs_8z, 10 %"


POOR = ("6h_vs_8z", "poor", 100)


def ablated(level="poor", **means):
    return pd.concat(cell(("6h_vs_8z", level, 100), line, around(mean)) for line, mean in means.items())


@pytest.mark.parametrize(
    ("test", "means", "expected"),
    [
        ("gain of CVF", {"omac": 12, "wo_cvf": 11}, verdicts.HOLDS),
        ("gain of CVF", {"omac": 11, "wo_cvf": 12}, verdicts.FAILS),
        ("gain of CVF", {"omac": 11, "wo_cvf": 11}, verdicts.UNDECIDED),
        ("gain of CVF", {"omac": 11}, verdicts.NOT_RUN),
        ("much better than CVF-maxQ", {"omac": 12, "maxq": 11}, verdicts.HOLDS),
        ("much better than CVF-maxQ", {"omac": 12, "maxq": 11.8}, verdicts.FAILS),
        ("gain of in-sample values", {"omac": 12, "maxq": 11.8}, verdicts.HOLDS),
        ("tau", {"omac": 12, "tau_08": 12.3, "tau_05": 11}, verdicts.HOLDS),
        ("tau", {"omac": 12, "tau_08": 12.3, "tau_05": 12}, verdicts.PARTLY),
        ("tau", {"omac": 12, "tau_08": 14, "tau_05": 14}, verdicts.FAILS),
        ("tau", {"omac": 12, "tau_08": 14, "tau_05": 12}, verdicts.FAILS),  # one of the two much better
        ("tau", {"omac": 12, "tau_08": 12.3}, verdicts.PARTLY),
        ("tau", {"omac": 12}, verdicts.NOT_RUN),
    ],
)
def test_a_part_of_omac_is_judged_seed_by_seed_on_its_level_alone(test, means, expected):
    assert word(test, ablated(**means)) == expected
    assert word(test, ablated("medium", **means)) == verdicts.NOT_RUN
    assert word(test, ablated("medium", **means), "medium") == expected


def test_differences_are_paired_by_seed():
    """Seeds far apart, each a little better: unpaired intervals would hide it."""
    seeds = np.array([2.0, 6.0, 10.0, 14.0, 18.0])
    table = pd.concat([cell(POOR, "omac", seeds + 0.5), cell(POOR, "wo_cvf", seeds[:4])])
    (part,), _ = criteria.TESTS["gain of CVF"](study(table.sample(frac=1, random_state=0)))
    assert (part.low, part.value, part.high) == pytest.approx((0.5, 0.5, 0.5))  # the fifth seed has no partner
    strangers = pd.concat([cell(POOR, "omac", [1.0]), cell(POOR, "wo_cvf", [1.0]).assign(seed=7)])
    assert criteria.TESTS["gain of CVF"](study(strangers)) == ([], [(POOR, "wo_cvf")])


def test_stability_is_a_smaller_spread_over_seeds():
    wide = pd.concat([cell(POOR, "omac", around(12)), cell(POOR, "wo_cca", [6.0, 9.0, 11.0, 13.0, 16.0])])
    gain, spread = criteria.better_and_steadier(study(wide))[0]
    assert gain.value == pytest.approx(1.0) and spread.value == pytest.approx(
        np.std([6, 9, 11, 13, 16]) / np.std(around(0))
    )
    assert (spread.unit, spread.bar, spread.says, gain.says) == (evidence.STD_RATIO, 1.0, "for", "open")
    assert word("better and steadier", wide) == verdicts.PARTLY


def valued(data_set, line, over, **columns):
    """Rows of a cell whose values exceed its own policy's discounted return of 4 points by `over`."""
    return cell(data_set, line, around(12), q_tot_start=4.0 + over, discounted_mean=4.0, **columns)


def test_values_of_an_explicit_maximum_exceed_their_own_policys_return_or_not():
    def table(**over):
        return pd.concat(valued(POOR, line, x) for line, x in over.items())

    assert word("overestimated", table(omac=0.5, tau_08=1.0, maxq=2.0)) == verdicts.HOLDS
    assert word("overestimated", table(omac=0.5, tau_08=3.0, maxq=2.0)) == verdicts.PARTLY  # above 0 alone
    assert word("overestimated", table(omac=-3.0, tau_08=-3.0, maxq=-2.0)) == verdicts.PARTLY  # above the others' alone
    assert word("overestimated", table(omac=1.0, tau_08=1.0, maxq=-1.0)) == verdicts.CANNOT  # it could, and did not
    assert word("overestimated", table(omac=0.0, maxq=2.0)) == verdicts.PARTLY  # the others are missing
    assert word("overestimated", ablated(omac=12, tau_08=12, maxq=11)) == verdicts.NOT_RUN  # rows without the columns
    some = CLAIMS[CLAIMS["test"] == "overestimated"]  # a part is untested; the first rests on a test of theory too
    for maxq, expected in ((2.0, [verdicts.PARTLY] * 2), (-1.0, [verdicts.PARTLY, verdicts.CANNOT])):
        found = verdicts.verdicts(table(omac=0.0, tau_08=0.0, maxq=maxq), claims=some)
        assert [v.word for v in found] == expected
        assert report.measured(found[0]).startswith("shown by `test_lemma2")
        assert "overestimation: CVF-maxQ − max(" in report.measured(found[0])


def test_values_far_above_the_datas_returns_are_no_overestimation_where_the_policy_gets_them():
    table = pd.concat(
        valued(POOR, a, 0.0, held_q_tot=9.0, held_return_followed=2.0) for a in ("omac", "tau_08", "maxq")
    )
    assert (criteria.overestimation(table) == 0).all() and word("overestimated", table) == verdicts.CANNOT


def test_eq1_on_trained_networks_is_refuted_by_what_it_loses_in_points_and_never_shown():
    def table(points, number=12, share=0.2):
        return pd.concat(cell(d, "omac", around(12), igm_excess=points, igm_violation=share) for d in TWELVE[:number])

    lost, (part,) = evidence.NEGLIGIBLE, criteria.igm(study(table(0.002)))[0]
    assert (part.unit, part.bar, part.says) == (evidence.POINTS, lost, "open")
    assert word("igm", table(0.002)) == verdicts.CANNOT  # in a fifth of the states, of 20 points
    assert word("igm", table(10 * lost)) == verdicts.FAILS and word("igm", table(0.0)) == verdicts.CANNOT
    assert word("igm", table(20 * lost, 1)) == verdicts.FAILS and word("igm", table(10 * lost, 1)) == verdicts.NOT_RUN
    assert word("igm", rows(TWELVE)) == verdicts.NOT_RUN
    assert lost * 1 / (1 - 0.99) == pytest.approx(evidence.CLOSE) and f"bar {lost:g} points" in "".join(
        verdicts.rules()
    )
    assert report.number(part) == "0.0020 [0.0020, 0.0020]"


@pytest.mark.slow
def test_values_are_nearer_to_their_own_policys_return_or_not():
    def table(number=12, **over):
        lines = ("omac", "omar", "bcq", "cql")
        return pd.concat(valued(d, a, over.get(a, 1.0)) for d in TWELVE[:number] for a in lines)

    parts, missing = criteria.nearer(study(table(omar=2.0, bcq=5.0, cql=-2.0)))
    assert not missing and [(p.value, p.says) for p in parts] == [(1.0, "for")] * 3  # above and below
    assert (
        word("nearer", table(omar=2.0, bcq=5.0, cql=-0.5)) == verdicts.PARTLY
        and word("nearer", table()) == verdicts.UNDECIDED
    )
    assert word("nearer", table(omac=5.0)) == verdicts.FAILS and word("nearer", table(1, omac=5.0)) == verdicts.NOT_RUN
    assert word("nearer", rows(TWELVE)) == verdicts.NOT_RUN  # rows without the columns
    alone = "nearer than values that ask a policy"
    assert [word(alone, table(omar=x)) for x in (2.0, 0.5)] == [verdicts.HOLDS, verdicts.FAILS]
    some, ahead = CLAIMS[CLAIMS["test"] == "nearer"], table(omar=5.0, bcq=5.0, cql=5.0)
    capped = [v.word for v in verdicts.verdicts(ahead, claims=some)]
    assert capped == [verdicts.PARTLY] * len(some) and some["untested"].map(len).all()
    free = verdicts.verdicts(ahead, claims=some.assign(untested=""))
    assert {v.word for v in free} == {verdicts.HOLDS}
    assert (
        report.verdict_table(free)["what decides"][0] + f"; not tested: {some['untested'].iloc[0]}"
        == report.verdict_table(verdicts.verdicts(table(), claims=some))["what decides"][0]
    )


def test_values_that_stay_at_the_datas_returns_are_not_nearer_for_that():
    """SARSA's values do: as an estimate of a policy that gets twice as much they are wrong."""
    sarsa = pd.concat(valued(d, "bcq", -2.0, held_q_tot=2.0, held_return_followed=2.0) for d in TWELVE)
    better = pd.concat(valued(d, "omac", 0.1, held_q_tot=4.1, held_return_followed=2.0) for d in TWELVE)
    (part,), _ = criteria.nearer(study(pd.concat([sarsa, better])), ("bcq",))
    assert part.value == 1 and part.says == "for"


def test_other_temperatures_than_the_published_are_in_no_verdict():
    table = rows(TWELVE[3:4]).assign(temperature="published")
    sharp = rows(TWELVE[3:4], omac=20.0).query("algorithm == 'omac'").assign(temperature="beta_15")
    some = CLAIMS[CLAIMS["test"].isin(["outperforms", "consistently"])]
    both = [verdicts.verdicts(x, claims=some) for x in (table, pd.concat([sharp, table]))]
    assert [v.parts for v in both[0]] == [v.parts for v in both[1]] and both[0][0].parts


def test_credit_weights_are_correlated_within_an_agent_and_the_coupling_narrows_their_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(credit_weights, "path_of", lambda dataset: tmp_path / f"{dataset}.csv")
    tests = ("correlated", "coupling")
    assert [word(t, rows(NINE[:1])) for t in tests] == [verdicts.NOT_RUN] * 2
    rng = np.random.default_rng(0)

    def write(coupled, control, agents=0.0):
        """Slopes of w_q over w_v by seed, the two lines; `agents`: by how much both weights of the second are larger."""
        parts = []
        for line, slopes in (("default", coupled), ("wo_cca", control)):
            for seed, slope in enumerate(slopes):
                w, agent = rng.random(200), np.repeat([0, 1], 100)
                data = slope * w + 0.1 * rng.random(200) + agents * agent
                table = {"variant": line, "seed": seed, "agent": agent, "w_v": w + 1 + agents * agent, "data": data}
                parts.append(pd.DataFrame(table))
        write_csv(pd.concat(parts), tmp_path / "smax-6h_vs_8z-poor-100.csv")
        return [word(t, rows(NINE[:1])) for t in tests]

    alike, apart = [1] * 5, [-1, -1, 0, 1, 1]
    assert write(alike, apart) == [verdicts.HOLDS, verdicts.HOLDS]
    assert write(apart, alike) == [verdicts.UNDECIDED, verdicts.FAILS]
    assert write([-1] * 5, apart, agents=9.0) == [
        verdicts.FAILS,
        verdicts.HOLDS,
    ]  # pooled over agents r would be near 1


def test_the_papers_tables_are_held_against_its_text():
    assert paper_numbers.highest()[:2] == (9, 12) and paper_numbers.highest("table1")[:2] == (9, 9)
    assert (
        "clearly above all four (Welch) on 1; not on 5m_vs_6m poor, 3s5z_vs_3s6z good, corridor good"
        in paper_numbers.highest()[2]
    )
    assert paper_numbers.highest("table1")[2].endswith("printed oddly: 10.047")
    assert paper_numbers.highest(maps=("6h_vs_8z", "corridor"))[:2] == (5, 6)
    assert (
        paper_numbers.drop()[:2] == (8, 8) and "poor 10 % BCQ-MA (2.33 against OMAC's 2.49)" in paper_numbers.drop()[2]
    )
    assert "level by level in 21 of 24" in paper_numbers.drop()[2]
    assert paper_numbers.outperforms()[:2] == (4, 4) and "ICQ on 9" in paper_numbers.outperforms()[2]
    assert paper_numbers.quality()[:2] == (1, 2)
    assert paper_numbers.quality()[2].endswith("no number for 3s5z_vs_3s6z good; no number for 3s5z_vs_3s6z medium")
    assert paper_numbers.others() == "with others' baselines, highest on 7 of 9"
    assert [verdicts.by_count(k, 3) for k in (3, 2, 0)] == [verdicts.HOLDS, verdicts.PARTLY, verdicts.FAILS]


def test_welchs_test_on_printed_numbers_takes_their_std_for_ddof_0():
    """Five scores as they are, and as the paper would print them: the same p-value, on both sides of the level."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        x, y = rng.normal(size=(2, 5)) + [[1.2], [0.0]]
        mean, std = (pd.DataFrame({"omac": [f(x)], **{a: [f(y)] for a in FIVE[1:]}}) for f in (np.mean, np.std))
        clear = paper_numbers._clear(mean, std).to_numpy()
        assert (clear == (ttest_ind(x, y, equal_var=False, alternative="greater").pvalue < 0.025)).all()
        found.append(clear.all())
    assert 20 < sum(found) < 180


def test_other_printed_numbers_would_give_other_words(monkeypatch):
    def better(name):
        table = paper_tables.published(name)
        ours = table["algorithm"] == "omac"
        return table.assign(mean=table["mean"].where(~ours, "19.00"), std=table["std"].where(~ours, "0.10"))

    monkeypatch.setattr(paper_numbers, "published", better)
    assert (
        paper_numbers.highest()[:2] == (12, 12) and "clearly above all four (Welch) on 12" in paper_numbers.highest()[2]
    )
    assert paper_numbers.highest()[2].count("not on") == 0 and "level by level in 24 of 24" in paper_numbers.drop()[2]

    def worse(name):
        table = paper_tables.published(name)
        return table.assign(mean=table["mean"].where((table["algorithm"] != "omac") | (table["ratio"] != "50"), "9.00"))

    monkeypatch.setattr(paper_numbers, "published", worse)
    assert paper_numbers.drop()[:2] == (4, 8)  # 10 % alone


@pytest.mark.slow
def test_verdicts_follow_the_rows_and_take_no_other_profile_or_ablation_for_omac(monkeypatch):
    monkeypatch.setattr(criteria, "data_sets", lambda name: TWELVE[3:6])
    some = CLAIMS[CLAIMS["test"].isin(["outperforms", "most", "gain of CVF", "nothing", "quality"])].drop_duplicates(
        "test"
    )

    def words(table):
        return {v.claim["test"]: v.word for v in verdicts.verdicts(table, claims=some)}

    fixed = {"nothing": verdicts.CANNOT, "quality": verdicts.CANNOT}
    ahead = pd.concat([rows(TWELVE[3:6]), cell(POOR, "wo_cvf", around(11))])
    assert words(ahead) == {
        "outperforms": verdicts.HOLDS,
        "most": verdicts.HOLDS,
        "gain of CVF": verdicts.HOLDS,
        **fixed,
    }
    behind = pd.concat([rows(TWELVE[3:6], omac=8.0), cell(POOR, "wo_cvf", around(11))])
    assert words(behind) == {
        "outperforms": verdicts.FAILS,
        "most": verdicts.FAILS,
        "gain of CVF": verdicts.FAILS,
        **fixed,
    }
    quick = pd.concat(
        [rows(TWELVE[3:4]), rows(TWELVE[3:6]).assign(profile="quick"), rows(TWELVE[3:6]).assign(env="smac")]
    )
    assert words(quick) == {
        **dict.fromkeys(("outperforms", "most", "gain of CVF"), verdicts.NOT_RUN),
        **fixed,
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": "no such"}, "claim C01 names the test 'no such'; there are cited, outperforms"),
        ({"test": "cited"}, "claim C01 is cited but names no test: fill shown_by"),
        (
            {"test": "cited", "shown_by": "tests/test_verdict.py: test_x"},
            "claim C01 cites 'test_x' in tests/test_verdict",
        ),
        ({"test": "cited", "broken_by": "no/such.ipynb: words"}, "claim C01 cites 'words' in no/such.ipynb"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused_by_name(change, words):
    with pytest.raises(ValueError, match=words):
        verdicts.verdicts(rows(TWELVE[:1]), claims=CLAIMS[:1].assign(**change))


def test_rows_that_cannot_be_judged_are_refused():
    table = rows(TWELVE[:1])
    with pytest.raises(ValueError, match="no final rows of smac at profile laptop"):
        verdicts.verdicts(table, env="smac")
    with pytest.raises(ValueError, match="level is 'best'; it must be one of good, medium, poor"):
        verdicts.verdicts(table, level="best")
    twice = pd.concat([table, *[cell(POOR, "wo_cvf", [1.0])] * 2])
    with pytest.raises(ValueError, match="two final rows"):
        verdicts.verdicts(twice)


def test_missing_cells_are_named_in_few_words():
    missing = [(d, a) for d in TWELVE[:3] for a in FIVE] + [(POOR, "wo_cca"), (POOR, "icq")]
    assert report.lacking(missing) == "all five: 5m_vs_6m; w/o CCA, ICQ: 6h_vs_8z poor" and report.lacking([]) == ""


def test_a_claim_that_its_numbers_leave_open_is_said_to_be_undecided():
    open_part = Part("a difference", evidence.POINTS, 0.1, -0.3, 0.5, 0.0, "above", seeds=5)
    claim = CLAIMS.iloc[0].copy()
    claim[["shown_by", "broken_by"]] = ""
    said = {
        word: report.measured(verdicts.Verdict(claim, word, parts, [], "", ""))
        for word, parts in ((verdicts.UNDECIDED, [open_part]), (verdicts.PARTLY, [open_part]), (verdicts.NOT_RUN, []))
    }
    needed = f"about {evidence.seeds_needed(open_part)} seeds would decide, 5 are there"
    assert said[verdicts.UNDECIDED] == f"a difference: 0.10 [-0.30, 0.50]; {needed}"
    assert said[verdicts.PARTLY] == "a difference: 0.10 [-0.30, 0.50]" and said[verdicts.NOT_RUN] == ""
    many = report.measured(verdicts.Verdict(claim, verdicts.UNDECIDED, [open_part] * 4, [], "", ""))
    assert many == f"of 4 statistics 4 undecided; {needed.replace('decide,', 'decide one of them,')}"


def test_table_and_figure_show_each_claim_and_each_statistic_once():
    chosen = CLAIMS[CLAIMS["test"].isin(["consistently", "consistently with less data", "tau", "cited"])]
    found = verdicts.verdicts(pd.concat([rows(TWELVE[3:4]), ablated(omac=12, tau_08=12.3)]), claims=chosen)
    table = report.verdict_table(found).set_index("")
    assert table.index.tolist() == chosen["id"].tolist()
    tau = table.loc[chosen.set_index("test").loc["tau", "id"]]
    assert tau["verdict"] == "**holds in part**" and tau["found here (SMAX)"].startswith(
        "OMAC − tau 0.8, poor: -0.30 ["
    )
    assert tau["found here (SMAX)"].endswith("*not run yet:* tau 0.5: 6h_vs_8z poor")
    numbers = report.statistics(found)
    assert len(numbers) == 3 and numbers["statistic"].is_unique and "," in numbers["claims"][0]
    points, share = plots_verdict.forest(found, "title").axes
    assert [points.get_xlabel(), share.get_xlabel()] == ["points of return", "share"] and len(share.get_yticks()) == 1
    words = [t.get_text().split("  (")[0] for axis in (points, share) for t in axis.get_yticklabels()]
    assert words == numbers["statistic"].tolist()
    assert all(report.verdict_table([v])["verdict"][0] == f"**{v.word}**" for v in found if v.word != verdicts.PARTLY)
    whole = [v for v in found if v.claim["test"] == "consistently"]
    assert report.verdict_table(whole)["in printed numbers (SMAC)"][0].startswith("**holds in part**, 9 of 12: ")
    assert report.verdict_table(whole)["verdict"][0] == "**holds in part**, 1 of 2"  # one data set, of most too few
    with pytest.raises(ValueError, match="no claim has a statistic"):
        plots_verdict.forest([v for v in found if v.claim["test"] == "cited"], "title")


def test_claims_that_hold_one_statistic_against_two_bars_share_a_line_of_the_figure():
    chosen = CLAIMS[CLAIMS["test"].isin(["tau"])]
    (verdict,) = verdicts.verdicts(pd.concat([rows(TWELVE[3:4]), ablated(omac=12, tau_08=12.3)]), claims=chosen)
    again = verdict._replace(
        parts=[p._replace(bar=p.bar + 0.1) for p in verdict.parts], claim={**verdict.claim, "id": "C99"}
    )
    (axes,) = plots_verdict.forest([verdict, again], "title").axes
    (label,) = [t.get_text() for t in axes.get_yticklabels()]
    assert (
        label.endswith(f"({verdict.claim['id']}, C99)") and len(axes.lines) == 2 + 4
    )  # interval, value; two bars, twice


@pytest.mark.slow
def test_the_written_verdicts_are_those_of_the_committed_results():
    chosen = choice.chosen(choice.read_choosing())
    tuned = verdicts.verdicts(STUDY, chosen=chosen) if chosen else None
    table = report.verdict_table(verdicts.verdicts(STUDY), tuned=tuned)
    assert results.markdown(table) in (ROOT / "figures" / "verdict.md").read_text()

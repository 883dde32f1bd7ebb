"""The statistics against values worked out by hand, loops and scipy; what an interval promises. Coverage: test_coverage.py."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu, t, ttest_1samp, ttest_ind

from omac.analysis.statistics import (
    gains_over,
    improvement,
    interval,
    iqm,
    iqm_gain,
    least_mean,
    mean_correlation,
    mean_gain,
    profile,
    share_highest,
    spread_ratio,
)
from omac.claims.evidence import mean_of_means

RAGGED = [[3.0, 1.0, 2.0], [10.0, 11.0], [4.0, 8.0, 6.0, 5.0, 7.0]]


def test_a_mean_over_tasks_weighs_each_the_same():
    assert mean_of_means([[1, 3], [5, 5, 8]]) == 4


def test_the_iqm_is_the_mean_of_the_middle_half_of_all_runs():
    assert iqm([[1, 2, 3, 4], [5, 6, 7, 800]]) == pytest.approx((3 + 4 + 5 + 6) / 4)
    for scores in (np.random.default_rng(0).normal(size=(3, 5)), RAGGED):
        pooled = np.sort(np.concatenate(list(scores)))
        cut = len(pooled) // 4
        assert iqm(scores) == pytest.approx(pooled[cut : len(pooled) - cut].mean())


def test_the_probability_of_improvement_counts_pairs_ties_half_and_averages_tasks():
    assert improvement([[1, 2]], [[0, 2]]) == (1 + 0 + 1 + 0.5) / 4
    assert improvement([[1, 2], [9, 9, 9]], [[0, 2], [8]]) == pytest.approx((0.625 + 1) / 2)
    assert improvement([[3, 3]], [[3, 3, 3]]) == 0.5
    x, y = np.random.default_rng(0).integers(0, 6, (2, 1, 9)).astype(float)
    assert improvement(x, y) == pytest.approx(mannwhitneyu(x[0], y[0]).statistic / 81)
    assert improvement(x, y) + improvement(y, x) == pytest.approx(1)


def test_a_profile_is_the_share_of_runs_strictly_above_each_task_weighing_the_same():
    np.testing.assert_allclose(profile([[1, 2], [3, 3]], [0, 1, 2.5, 3]), [1, 0.75, 0.5, 0])
    np.testing.assert_allclose(profile([[1], [3, 3, 3, 0]], [2]), [0.375])


def test_leading_axes_are_kept_and_each_entry_is_as_if_alone():
    rng = np.random.default_rng(0)
    x, y = ([rng.normal(size=(7, n)) for n in sizes] for sizes in ((3, 5), (4, 2)))
    both = (improvement, mean_gain, iqm_gain, share_highest, spread_ratio)
    alone = (iqm, mean_of_means, partial(profile, thresholds=[0, 1]))
    cases = [*((f, [x, y]) for f in both), *((f, [x]) for f in alone), (mean_correlation, [[np.tanh(a) for a in x]])]
    for statistic, groups in cases:
        together = statistic(*groups)
        paired = statistic is not share_highest  # whose interval takes seeds in pairs
        ends = interval(statistic, *groups) if paired else np.zeros((2, 7))
        for r in range(7):
            one = [[a[r] for a in g] for g in groups]
            np.testing.assert_allclose(together[r], statistic(*one))
            np.testing.assert_allclose(ends[:, r], interval(statistic, *one) if paired else 0)


def test_a_gain_is_over_the_mean_of_the_baseline_on_the_same_task():
    """Raw returns of a good and a poor data set never meet: their middle half is a choice of data sets."""
    x, base = [[19.0, 20.0], [5.0, 8.0]], [[18.0, 19.0], [5.0, 5.0, 5.0]]
    np.testing.assert_allclose(np.concatenate(gains_over(x, base)), [0.5, 1.5, 0, 3])
    assert mean_gain(x, base) == pytest.approx(1.25) and iqm_gain(x, base) == pytest.approx(1.0)
    lifted = [[19.0, 20.0], [15.0, 18.0]], [[18.0, 19.0], [15.0, 15.0, 15.0]]  # another game, the same gains
    assert iqm_gain(*lifted) == pytest.approx(iqm_gain(x, base)) and iqm(lifted[0]) != iqm(x)


def test_the_share_of_tasks_with_the_highest_mean_and_the_ratio_of_spreads_and_the_mean_of_r():
    assert share_highest([[1.0, 3.0], [1.0, 1.0]], [[0.0, 3.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]) == 0.5
    assert spread_ratio([[0.0, 1.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 8.0]]) == pytest.approx(4.0)  # 2 and 8
    assert mean_correlation([np.tanh([0.5, 1.5])]) == pytest.approx(np.tanh(1.0))


def test_the_interval_of_a_mean_and_of_a_difference_are_students_and_welchs():
    x, y = np.random.default_rng(0).normal(size=(2, 1, 5)) * [[[1.0]], [[3.0]]]
    np.testing.assert_allclose(interval(mean_of_means, x), ttest_1samp(x[0], 0).confidence_interval())
    welch = ttest_ind(x[0], y[0], equal_var=False).confidence_interval()
    np.testing.assert_allclose(interval(mean_gain, x, y), welch)
    narrow = ttest_1samp(x[0], 0).confidence_interval(0.5)
    np.testing.assert_allclose(interval(mean_of_means, x, level=0.5), narrow)


def test_the_interval_of_an_iqm_is_that_of_a_trimmed_mean():
    """Tukey and McLaughlin: the spread of winsorized scores, degrees of freedom of those that are kept."""
    x = np.random.default_rng(2).normal(size=8)
    low, high = np.sort(x)[[2, 5]]
    inside, winsorized = x[(low <= x) & (x <= high)], x.clip(low, high)
    half = t.isf(0.025, len(inside) - 1) * winsorized.std(ddof=1) / (0.5 * np.sqrt(len(x)))
    np.testing.assert_allclose(interval(iqm, [x]), [inside.mean() - half, inside.mean() + half])


def test_the_least_of_several_means_is_bounded_by_students_t_of_two_seeds_too():
    gaps = [np.array([1.0, 2.0]), np.array([0.5, 4.0, 3.0])]
    value, low, high = least_mean(gaps, 0.025)
    each = [ttest_1samp(g, 0).confidence_interval(0.95) for g in gaps]
    bonferroni = [ttest_1samp(g, 0).confidence_interval(0.975) for g in gaps]
    expected = [1.5, min(x.low for x in each), min(x.high for x in bonferroni)]
    np.testing.assert_allclose([value, low, high], expected)
    assert np.isnan(least_mean([np.array([1.0])], 0.025)[1:]).all()
    assert spread_ratio([[1.0, 3.0]], [[2.0, 8.0]]) == pytest.approx(3)


def test_bounds_of_the_least_mean_keep_leading_axes_and_are_those_of_each_alone():
    gaps = [np.random.default_rng(i).normal(size=(3, 2, n)) for i, n in enumerate((5, 4))]
    found = np.stack(least_mean(gaps, 0.025))
    for i, j in np.ndindex(3, 2):
        np.testing.assert_allclose(found[:, i, j], least_mean([g[i, j] for g in gaps], 0.025))
    value, low, high = least_mean([np.ones((3, 2, 1)), np.zeros((3, 2, 5))], 0.025)
    assert value.shape == low.shape == high.shape == (3, 2) and np.isnan(low).all() and (value == 0).all()


def test_the_interval_of_constant_scores_is_that_constant_though_tasks_differ():
    constant = [[2.0] * 5, [19.0] * 5]
    np.testing.assert_array_equal(interval(mean_of_means, constant), [10.5, 10.5])
    np.testing.assert_array_equal(interval(iqm_gain, constant, [[1.0] * 3, [18.0] * 3]), [1, 1])


def test_five_seeds_that_all_win_do_not_prove_the_sixth():
    """A percentile bootstrap says [1, 1]: whatever is drawn from five wins is a win."""
    low, high = interval(improvement, [[1.0] * 5], [[0.0] * 5])
    assert high == 1 and low == pytest.approx(binomtest(5, 5).proportion_ci(method="wilson").low) and low < 0.6
    low, high = interval(partial(profile, thresholds=[0.5, 2.0]), [[1.0] * 5, [1.5] * 5])
    exact = binomtest(10, 10).proportion_ci().low
    np.testing.assert_allclose([low[0], high[1]], [exact, 1 - exact])
    assert high[0] == 1 and low[1] == 0


def test_a_task_is_surely_highest_only_where_it_is_ahead_of_every_other():
    near, seeds = np.array([-0.2, -0.1, 0.0, 0.1, 0.2]), np.zeros(5)
    low, high = interval(
        share_highest, [near + 5, near, near - 5, near + 5], [seeds] * 4, [seeds, seeds, seeds, seeds + 5]
    )
    assert (low, high) == (0.25, 0.75)  # the first is, the third is not, of two nobody knows
    assert interval(share_highest, [seeds], [seeds]).tolist() == [0, 0]  # as good as another is not the highest


def test_the_bootstrap_is_seeded_and_never_narrower_than_students_t():
    x = np.random.default_rng(2).exponential(size=(3, 5))
    first = interval(mean_of_means, x, repetitions=500)
    assert first.tobytes() == interval(mean_of_means, x, repetitions=500).tobytes()
    assert not np.array_equal(first, interval(mean_of_means, x, repetitions=500, seed=1))
    t = interval(mean_of_means, x)
    assert first[0] <= t[0] and first[1] >= t[1] and (first != t).any()


def test_the_order_of_tasks_and_seeds_does_not_matter():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 4, 5))
    tasks, seeds = rng.permutation(4), rng.permutation(5)
    for statistic in (improvement, iqm_gain, mean_gain, spread_ratio):
        np.testing.assert_allclose(interval(statistic, x, y), interval(statistic, x[tasks][:, seeds], y[tasks]))
    kept = interval(mean_of_means, x, repetitions=200)
    np.testing.assert_allclose(kept, interval(mean_of_means, x[tasks][:, seeds], repetitions=200))


def test_one_run_has_no_spread_and_so_no_interval():
    for statistic, groups in (
        (mean_of_means, [[[1.0]]]),
        (iqm_gain, [[[1.0]], [[0.0]]]),
        (spread_ratio, [[[1.0]], [[0.0]]]),
    ):
        assert np.isnan(interval(statistic, *groups)).all()


def test_the_band_of_a_profile_encloses_it_and_falls_with_the_threshold():
    at = np.linspace(0, 12, 25)
    low, high = interval(partial(profile, thresholds=at), RAGGED)
    assert (low <= profile(RAGGED, at)).all() and (profile(RAGGED, at) <= high).all() and (low < high).any()
    assert (np.diff(low) <= 0).all() and (np.diff(high) <= 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: iqm([]), "no tasks"),
        (lambda: iqm([[1.0], []]), "task 1 has no runs"),
        (lambda: iqm([1.0, 2.0]), r"task 0 is the single number 1.0: pass \[tasks, seeds\]"),
        (lambda: share_highest([[1.0, np.nan]], [[1.0, 2.0]]), "task 0 holds nan"),
        (lambda: profile([[np.inf]], [1]), "task 0 holds inf"),
        (lambda: improvement([[1.0]], [[1.0], [2.0]]), "1 tasks against 2"),
        (lambda: interval(improvement, [[1.0]], [[1.0], [2.0]]), "1 tasks against 2"),
        (lambda: interval(iqm, [[1.0, np.nan]]), "task 0 holds nan"),
        (lambda: interval(share_highest, [[1.0, 2.0]] * 2, [[1.0, 2.0]]), "zip|shape|tasks"),
        (lambda: interval(iqm, [[1.0]], level=95), "level is 95; it must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_averaged_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

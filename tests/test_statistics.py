"""The statistics against values worked out by hand, loops and scipy; what the bootstrap promises."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from omac.analysis.statistics import improvement, interval, iqm, mean_std, profile

RAGGED = [[3.0, 1.0, 2.0], [10.0, 11.0], [4.0, 8.0, 6.0, 5.0, 7.0]]


def test_mean_and_std_are_over_the_seeds_of_each_task_ddof_0():
    mean, std = mean_std([[1, 3], [5, 5, 8]])
    np.testing.assert_allclose(mean, [2, 6])
    np.testing.assert_allclose(std, [1, np.sqrt(2)])


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
    for statistic, groups in ((iqm, [x]), (improvement, [x, y]), (partial(profile, thresholds=[0, 1]), [x])):
        together = statistic(*groups)
        for r in range(7):
            np.testing.assert_allclose(together[r], statistic(*([a[r] for a in g] for g in groups)))


def test_the_interval_of_constant_scores_is_that_constant_though_tasks_differ():
    """Tasks are strata: were they drawn too, 2 and 19 would not always meet once each."""
    constant = [[2.0] * 5, [19.0] * 5]
    np.testing.assert_array_equal(interval(iqm, constant), [10.5, 10.5])
    np.testing.assert_array_equal(interval(improvement, constant, [[1.0] * 3, [20.0] * 3]), [0.5, 0.5])


def test_the_same_seed_gives_the_same_bytes_and_no_order_matters():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 4, 5))
    first = interval(improvement, x, y)
    assert first.tobytes() == interval(improvement, x, y).tobytes()
    tasks, seeds = rng.permutation(4), rng.permutation(5)
    assert first.tobytes() == interval(improvement, x[tasks][:, seeds], y[tasks]).tobytes()
    assert interval(iqm, RAGGED).tobytes() == interval(iqm, [sorted(t) for t in RAGGED[::-1]]).tobytes()
    assert not np.array_equal(interval(iqm, x), interval(iqm, x, seed=1))


def test_the_ends_are_percentiles_of_the_drawn_statistics():
    """Two runs drawn of 1 and 3 average 1 in a quarter of all draws, 2 in half of them, 3 in a quarter."""
    np.testing.assert_allclose(interval(iqm, [[1.0, 3.0]], level=0.4, repetitions=40_000), [2, 2])
    np.testing.assert_allclose(interval(iqm, [[1.0, 3.0]], level=0.6, repetitions=40_000), [1, 3])


def test_a_95_percent_interval_covers_the_truth_about_that_often():
    """20 runs of each of 3 tasks around 0, 1 and 2; the IQM's true value is 1 by symmetry."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(300, 3, 20)) * 0.3 + np.arange(3)[:, None]
    ends = np.array([interval(iqm, d, repetitions=300) for d in draws])
    assert 0.88 < np.mean((ends[:, 0] <= 1) & (ends[:, 1] >= 1)) < 0.99
    half = np.array([interval(iqm, d, repetitions=300, level=0.5) for d in draws])
    assert 0.4 < np.mean((half[:, 0] <= 1) & (half[:, 1] >= 1)) < 0.6


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
        (lambda: mean_std([[1.0, np.nan]]), "task 0 holds nan"),
        (lambda: profile([[np.inf]], [1]), "task 0 holds inf"),
        (lambda: improvement([[1.0]], [[1.0], [2.0]]), "1 tasks against 2"),
        (lambda: interval(improvement, [[1.0]], [[1.0], [2.0]]), "1 tasks against 2"),
        (lambda: interval(iqm, [[1.0, np.nan]]), "task 0 holds nan"),
        (lambda: interval(iqm, [[1.0]], level=95), "level is 95; it must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_averaged_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

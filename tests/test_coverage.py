"""Every kind of interval that the package prints, in a simulation at five seeds: how often does it hold the truth?

Scores are normal, and skewed: gamma of shape 4, skewness 1. The residuals of committed returns and values have less.
"""

from functools import partial

import numpy as np
import pytest

from omac.analysis.agreement import WITHIN, compare_means
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
from omac.claims.evidence import mean_of_means, part

SEEDS, REPEATS, ENOUGH = 5, 400, 0.92
DRAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed": lambda rng, shape: (rng.gamma(4, size=shape) - 4) / 2,
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
}
BOTH = pytest.mark.parametrize("draw", [DRAWS["normal"], DRAWS["skewed"]], ids=["normal", "skewed"])
MEANS = {1: [0.7], 3: [-1.0, 0.3, 1.0], 9: np.linspace(-2, 2, 9)}  # of the data sets, for so many
MANY = pytest.mark.parametrize("tasks", list(MEANS))


def runs(draw, rng, means, scales=None, seeds=SEEDS, repeats=REPEATS):
    """[REPEATS, seeds] for each data set: its mean, and a spread of its own."""
    scales = np.linspace(0.5, 1.5, len(means)) if scales is None else scales
    return [m + s * draw(rng, (repeats, seeds)) for m, s in zip(means, scales, strict=True)]


def share(ends, truth):
    low, high = ends
    return np.mean((low <= truth) & (truth <= high), axis=0)


@BOTH
@MANY
def test_means_of_gains_and_of_differences_over_data_sets(draw, tasks):
    rng, means = np.random.default_rng(0), np.array(MEANS[tasks])
    x, base = runs(draw, rng, means), runs(draw, rng, 0 * means)
    assert share(interval(mean_gain, x, base), means.mean()) >= ENOUGH
    differences = [a - b for a, b in zip(x, base, strict=True)]  # seed by seed
    assert share(interval(mean_of_means, differences), means.mean()) >= ENOUGH
    assert share(interval(mean_of_means, x), means.mean()) >= ENOUGH


@BOTH
@MANY
def test_interquartile_means_of_gains(draw, tasks):
    rng, means = np.random.default_rng(1), np.array(MEANS[tasks])
    truth = iqm([x[0] for x in runs(draw, rng, means, seeds=200_000, repeats=1)])
    x, base = runs(draw, rng, means), runs(draw, rng, 0 * means)
    assert share(interval(iqm_gain, x, base), truth) >= ENOUGH


@BOTH
@MANY
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.0, 3.0), (1.0, 1.0), (3.0, 1.0)])
def test_the_probability_of_improvement(draw, tasks, shift, scale):
    rng = np.random.default_rng(2)
    shifts, scales = shift * np.linspace(0.5, 1.5, tasks), [scale] * tasks
    many = [runs(draw, rng, m, s, 200_000, 1) for m, s in ((shifts, [1.0] * tasks), ([0.0] * tasks, scales))]
    truth = np.mean([np.mean(a > b) for a, b in zip(*many, strict=True)])
    x, y = runs(draw, rng, shifts, [1.0] * tasks), runs(draw, rng, [0.0] * tasks, scales)
    assert share(interval(improvement, x, y), truth) >= ENOUGH


@BOTH
@MANY
def test_the_bands_of_a_performance_profile_of_gains_over_the_baseline_as_measured(draw, tasks):
    rng, means, at = np.random.default_rng(3), np.array(MEANS[tasks]), np.linspace(-4, 4, 33)
    many = [np.sort(x[0]) for x in runs(draw, rng, means, seeds=20_000, repeats=1)]
    x, base = runs(draw, rng, means), runs(draw, rng, 0 * means)
    measured = [b.mean(-1, keepdims=True) for b in base]
    truth = np.mean([1 - np.searchsorted(m, at + b) / len(m) for m, b in zip(many, measured, strict=True)], axis=0)
    assert share(interval(partial(profile, thresholds=at), gains_over(x, base)), truth).min() >= ENOUGH


@BOTH
@pytest.mark.parametrize("tasks", [1, 3, 12])
@pytest.mark.parametrize("lead", [0.0, 1.0, 3.0])
def test_the_share_of_data_sets_with_the_highest_mean(draw, tasks, lead):
    rng, ahead = np.random.default_rng(4), np.arange(tasks) % 2 == 0
    x = runs(draw, rng, np.where(ahead, lead, -lead), [1.0] * tasks)
    others = [runs(draw, rng, [0.0] * tasks, [1.0] * tasks) for _ in range(4)]
    truth = ahead.mean() if lead else 0.0
    assert share(interval(share_highest, x, *others), truth) >= ENOUGH


@BOTH
@pytest.mark.parametrize("ratio", [1.0, 3.0])
def test_the_ratio_of_two_spreads_over_seeds(draw, ratio):
    rng = np.random.default_rng(5)
    for wrap in (lambda x: x, lambda x: np.tanh(1.3 + 0.1 * x)):  # of returns; of coefficients of correlation, near 1
        x, y = (wrap(runs(draw, rng, [0.0], [s])[0]) for s in (1.0, ratio))
        many = [wrap(s * draw(rng, 1_000_000)).std() for s in (1.0, ratio)]
        assert share(interval(spread_ratio, [x], [y]), many[1] / many[0]) >= ENOUGH


@BOTH
@pytest.mark.parametrize(("center", "spread"), [(1.3, 0.25), (0.0, 0.3)])
def test_the_mean_of_a_correlation_over_seeds(draw, center, spread):
    r = [np.tanh(center + spread * draw(np.random.default_rng(6), (REPEATS, SEEDS)))]
    assert share(interval(mean_correlation, r), np.tanh(center)) >= ENOUGH


@BOTH
def test_the_least_of_several_differences(draw):
    rng = np.random.default_rng(7)
    for means in ([0.0] * 4, [0.0, 0.5, 1.0, 2.0], [0.3]):
        x = runs(draw, rng, [0.0], [1.0])[0]
        gaps = [x - y for y in runs(draw, rng, [-m for m in means], [1.0] * len(means))]
        _, *ends = least_mean(gaps, 0.025)
        assert share(ends, min(means)) >= ENOUGH


@pytest.mark.slow
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_studentized_bootstrap_holds_means_of_scores_as_skewed_as_an_exponential(draw):
    rng, held = np.random.default_rng(8), 0
    for x in draw(rng, (REPEATS, 1, SEEDS)):
        low, high = interval(mean_of_means, x, repetitions=500)
        held += bool(low <= 0 <= high)
    assert held >= ENOUGH * REPEATS
    t = interval(mean_of_means, [DRAWS["exponential"](rng, (4_000, SEEDS))])
    assert share(t, 0.0) < ENOUGH  # where Student's t does not


@pytest.mark.slow
@BOTH
def test_a_part_of_a_claim_and_two_runs_that_are_held_against_one_another(draw):
    rng, held, within = np.random.default_rng(9), 0, 0
    for x, y in zip(*runs(draw, rng, [0.0, 0.0], [1.0, 1.0]), strict=True):
        found = part("a mean", "points of return", mean_of_means, [x[None]])
        held += bool(found.low <= 0 <= found.high)
        within += compare_means(x, y) == WITHIN
    assert held >= ENOUGH * REPEATS and within >= ENOUGH * REPEATS

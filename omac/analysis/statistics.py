"""Few runs, honest numbers: statistics of the runs of each data set, and intervals that keep their word at five seeds.

Scores are [tasks, seeds], or a list with an array of seeds for each task where their numbers differ. A task is a data
set. Scores are in their column's unit; what is pooled over tasks are gains over a baseline (`gains_over`), because raw returns
of a good and a poor data set never meet. A statistic also takes axes in front of the seeds, [..., seeds], and keeps them.
Statistics and profiles: Agarwal et al. 2021, "Deep RL at the Edge of the Statistical Precipice". Its percentile bootstrap
of five seeds holds the truth 84 to 90 times in a hundred where it says 95, so that `interval` goes other ways.
"""

from functools import cache

import numpy as np
from scipy import stats

LEVEL = 0.95  # of all intervals


def _tasks(scores):
    """`scores` as a list of float arrays [..., seeds], one a task. Raises ValueError for what cannot be averaged."""
    tasks = [np.asarray(x, float) for x in scores]
    if not tasks:
        raise ValueError("no tasks: scores must hold the runs of one data set at least")
    for i, x in enumerate(tasks):
        if x.ndim == 0:
            raise ValueError(f"task {i} is the single number {x}: pass [tasks, seeds], or a list with one array a task")
        if x.shape[-1] == 0:
            raise ValueError(f"task {i} has no runs: leave the data set out, or run it")
        if not np.isfinite(x).all():
            raise ValueError(f"task {i} holds {x[~np.isfinite(x)][0]}: drop runs without a score before averaging")
    return tasks


def _pairs(x, y):
    """The tasks of two algorithms. Raises ValueError when one has more of them than the other."""
    x, y = _tasks(x), _tasks(y)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} tasks against {len(y)}: compare on the data sets that both have, in one order")
    return x, y


def iqm(scores):
    """Interquartile mean (Agarwal et al., section 4.3): the mean of the middle half of all runs of all tasks, pooled.

    scores  [tasks, seeds] or a list of [..., seeds], gains where there are several tasks; a quarter of the runs, rounded
            down, is cut on either side
    Returns [...], in units of the scores. Raises ValueError for empty or non-finite scores.
    """
    return stats.trim_mean(np.concatenate(_tasks(scores), axis=-1), 0.25, axis=-1)


def gains_over(x, base):
    """By how much each run exceeds the mean of `base` on its task: a list of [..., seeds], in units of the scores."""
    return [a - b.mean(-1, keepdims=True) for a, b in zip(*_pairs(x, base), strict=True)]


def mean_gain(x, base):
    """Mean over tasks of the mean gain over `base`. Returns [...], in units of the scores."""
    return np.mean([g.mean(-1) for g in gains_over(x, base)], axis=0)


def iqm_gain(x, base):
    """Interquartile mean of all runs' gains over `base`, pooled over tasks. Returns [...], in units of the scores."""
    return iqm(gains_over(x, base))


def improvement(x, y):
    """Probability of improvement P(X > Y) (Agarwal et al., section 4.3): how likely a run of X beats one of Y on a task.

    The Mann-Whitney U statistic over the product of the numbers of runs, a tie counting half; mean over tasks.
    x, y    [tasks, seeds] or lists of [..., seeds], the same tasks in the same order; seeds may differ in number
    Returns [...] in [0, 1]; 0.5 is no difference. Raises ValueError for empty, non-finite or mismatched scores.
    """
    ahead = [np.sign(a[..., :, None] - b[..., None, :]) for a, b in zip(*_pairs(x, y), strict=True)]
    return np.mean([(1 + g.mean((-1, -2))) / 2 for g in ahead], axis=0)


def profile(scores, thresholds):
    """Performance profile (Agarwal et al., section 4.2, run scores): the share of runs whose score is above each threshold.

    scores      [tasks, seeds] or a list of [..., seeds], gains where there are several tasks; each task weighs the same
    thresholds  [P], in units of the scores
    Returns [..., P] in [0, 1]. Raises ValueError for empty or non-finite scores.
    """
    above = [x[..., None, :] > np.asarray(thresholds, float)[:, None] for x in _tasks(scores)]
    return np.mean([a.mean(-1) for a in above], axis=0)


def share_highest(x, *others):
    """Share of the tasks on which the mean of x is above that of every other. Lists of [..., seeds]; returns [...]."""
    groups = [_tasks(g) for g in (x, *others)]
    ahead = [a.mean(-1) > np.max([b.mean(-1) for b in rest], axis=0) for a, *rest in zip(*groups, strict=True)]
    return np.mean(ahead, axis=0)


def spread_ratio(x, y):
    """Say how many times the standard deviation over seeds of y is that of x (ddof 1); geometric mean over tasks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [
            np.log(_variance(b) * b.shape[-1] / _variance(a) / a.shape[-1]) / 2
            for a, b in zip(*_pairs(x, y), strict=True)
        ]
    return np.exp(np.mean(logs, axis=0))


def mean_correlation(r):
    """Mean of correlation coefficients over seeds and tasks, taken of Fisher's z = artanh r, so that it is one again."""
    return np.tanh(np.mean([np.arctanh(x.clip(-1 + 1e-12, 1 - 1e-12)).mean(-1) for x in _tasks(r)], axis=0))


def least_mean(gaps, miss):
    """Bound the least mean of several differences by Student's t.

    gaps    a list of [..., seeds]
    miss    how often each end may miss. The lower end is above 0 when that of every difference is; the upper end is
            below 0 when that of one is, at a level that keeps `miss` for all of them together (Bonferroni)
    Returns (value, low, high), each [...]; NaN ends where a difference has one seed, which has no spread.
    """
    means, free = np.stack([g.mean(-1) for g in gaps]), np.array([g.shape[-1] - 1 for g in gaps])
    free = free.reshape(-1, *[1] * (means.ndim - 1))
    errors = np.sqrt([_variance(g) for g in gaps])
    low, high = means - stats.t.isf(miss, free) * errors, means + stats.t.isf(miss / len(gaps), free) * errors
    return means.min(0), low.min(0), high.min(0)


def interval(statistic, *groups, level=LEVEL, repetitions=0, seed=0):
    """Interval over seeds, tasks fixed, that holds the true value about as often as `level` says, at five seeds too.

    | statistic | way |
    |---|---|
    | `improvement` | Wilson's, of as many independent pairs as the fewest seeds times tasks: the U statistic varies less |
    | `profile` | Clopper and Pearson's of as many runs, threshold by threshold |
    | `share_highest` | the tasks that are surely so, and those that may be: `least_mean` on each, Bonferroni over tasks |
    | `spread_ratio` | as below, of its logarithm (Miller 1968) |
    | `mean_correlation` | as below, of Fisher's z |
    | any other | Student's t, the error by jackknife over the seeds of each task, degrees of freedom by Welch and |
    |           | Satterthwaite: of a mean or a difference of means exactly their intervals |
    | `iqm`, `iqm_gain` | the same, with the error of winsorized scores (Tukey and McLaughlin) |

    statistic   a function of the groups that keeps leading axes, or a partial of one
    groups      scores, [tasks, seeds] or lists of [..., seeds]; several groups have the same tasks and are independent, but
                for `share_highest`, which takes differences seed by seed
    level       how often the interval holds the true value
    repetitions of a studentized bootstrap that widens Student's t, for scores that are skewed; lists of [seeds] alone
    seed        of that bootstrap
    Returns [2, ...], lower and upper end, in units of the statistic, NaN where a task has one run; the same for any order
    of tasks and seeds. Raises ValueError for empty, non-finite or mismatched scores, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    groups = [_tasks(g) for g in groups]
    for other in groups[1:]:
        _pairs(groups[0], other)
    name = getattr(statistic, "func", statistic)
    if name is share_highest:
        return _of_decisions(groups, level)
    if name in COUNTED:
        return _of_counts(statistic, groups, level, COUNTED[name])
    way = _studentized(repetitions, seed) if repetitions else _by_students_t
    with np.errstate(divide="ignore", invalid="ignore"):
        if name not in TRANSFORMED:
            return way(statistic, groups, level)
        to, back = TRANSFORMED[name]
        return back(way(lambda *g: to(statistic(*g)), groups, level))


COUNTED = {improvement: "wilson", profile: "exact"}  # methods of SciPy's binomial interval
TRANSFORMED = {spread_ratio: (np.log, np.exp), mean_correlation: (np.arctanh, np.tanh)}


def _errors(statistic, groups):
    """[(variance of the statistic by the seeds of one task of one group [...], its degrees of freedom), ...]."""
    return _winsorized(*groups) if statistic in (iqm, iqm_gain) else _jackknife(statistic, groups)


def _winsorized(x, base=()):
    """`_errors` of an interquartile mean, after Tukey and McLaughlin: what is cut off counts as the outermost that is not."""
    over = gains_over(x, base) if len(base) else x
    pooled = np.sort(np.concatenate(over, axis=-1))
    runs, cut = pooled.shape[-1], pooled.shape[-1] // 4
    low, high, kept = pooled[..., cut, None], pooled[..., runs - 1 - cut, None], runs - 2 * cut
    found = []
    for i, g in enumerate(over):
        inside = ((low <= g) & (g <= high)).sum(-1)
        found.append((_variance(g.clip(low, high)) * (g.shape[-1] / kept) ** 2, np.maximum(inside - 1, 1)))
        if len(base):
            found.append((_variance(base[i]) * (inside / kept) ** 2, max(base[i].shape[-1] - 1, 1)))
    return found


def _variance(x):
    """Variance of the mean over seeds, [...]; NaN of one seed."""
    return x.var(-1, ddof=1) / x.shape[-1] if x.shape[-1] > 1 else np.full(x.shape[:-1], np.nan)


def _jackknife(statistic, groups):
    """`_errors` of any smooth statistic: by how much it moves when one seed is left out."""
    found = []
    for g, tasks in enumerate(groups):
        for d, x in enumerate(tasks):
            n, without = x.shape[-1], []
            for i in range(n if n > 1 else 0):
                left = [*tasks[:d], np.delete(x, i, -1), *tasks[d + 1 :]]
                without.append(statistic(*groups[:g], left, *groups[g + 1 :]))
            found.append(((n - 1) * np.var(without, axis=0), n - 1) if without else (np.nan, 1))
    return found


def _by_students_t(statistic, groups, level):
    value, error, t = _pivot(statistic, groups, level)
    return np.stack([value - t * error, value + t * error])


def _pivot(statistic, groups, level):
    """The statistic, its standard error, and Student's t at `level` with Welch and Satterthwaite's degrees of freedom."""
    parts = _errors(statistic, groups)
    variance = sum(v for v, _ in parts)
    free = np.where(variance == 0, 1.0, variance**2 / sum(v**2 / f for v, f in parts))
    return statistic(*groups), np.sqrt(variance), stats.t.isf((1 - level) / 2, free)


def _studentized(repetitions, seed):
    """The way of a studentized bootstrap: its quantiles in the place of Student's t where they are wider."""

    def way(statistic, groups, level):
        value, error, wide = _pivot(statistic, groups, level)
        rng = np.random.default_rng(seed)
        tasks = sorted([np.sort(x).tolist() for x in task] for task in zip(*groups, strict=True))
        drawn = [[rng.choice(x, (repetitions, len(x))) for x in task] for task in tasks]
        drawn = [list(group) for group in zip(*drawn, strict=True)]
        t = (statistic(*drawn) - value) / np.sqrt(sum(v for v, _ in _errors(statistic, drawn)))
        t = np.nan_to_num(t, posinf=np.inf, neginf=-np.inf)  # no spread, and no distance
        low, high = np.quantile(t, ((1 - level) / 2, (1 + level) / 2), axis=0, method="inverted_cdf")
        return np.stack([value - np.maximum(high, wide) * error, value - np.minimum(low, -wide) * error])

    return way


def _of_counts(statistic, groups, level, method):
    trials = len(groups[0]) * min(x.shape[-1] for tasks in groups for x in tasks)
    count = np.round(statistic(*groups) * trials, 9)
    low, high = _binomial(trials, level, method)
    return np.stack([low[np.floor(count).astype(int)], high[np.ceil(count).astype(int)]])


@cache
def _binomial(trials, level, method):
    """Both ends of a binomial share's interval, for each count from 0 to `trials`: [2, trials + 1]."""
    found = [stats.binomtest(k, trials).proportion_ci(level, method) for k in range(trials + 1)]
    return np.array([(x.low, x.high) for x in found]).T


def _of_decisions(groups, level):
    """On each task one of two sentences is wrong: highest, or not. All tasks' tests together err as often as 1 - level."""
    sure, never = [], []
    for x, *others in zip(*groups, strict=True):
        _, low, high = least_mean([x - y for y in others], (1 - level) / len(groups[0]))
        sure.append(low > 0)
        never.append(high <= 0)
    return np.stack([np.mean(sure, axis=0), 1 - np.mean(never, axis=0)])

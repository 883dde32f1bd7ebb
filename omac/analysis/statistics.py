"""Few runs, honest numbers: Agarwal et al. 2021, "Deep RL at the Edge of the Statistical Precipice", with plain arrays.

Scores are [tasks, seeds], or a list with an array of seeds for each task where their numbers differ. A task is a data
set. Every score has one unit, that of its column (return on the 0-20 scale, or win rate in [0, 1]); nothing is normalised.
A statistic also takes axes in front of the seeds, [..., seeds], and keeps them: so `interval` resamples all at once.
"""

import numpy as np
from scipy.stats import trim_mean

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


def mean_std(scores):
    """The paper's numbers: mean and standard deviation over the seeds of each task, ddof 0 (register 20).

    scores  [tasks, seeds] or a list of [seeds]
    Returns (mean [tasks], std [tasks]), in units of the scores. Raises ValueError for empty or non-finite scores.
    """
    tasks = _tasks(scores)
    return np.stack([x.mean(-1) for x in tasks]), np.stack([x.std(-1) for x in tasks])


def iqm(scores):
    """Interquartile mean (Agarwal et al., section 4.3): the mean of the middle half of all runs of all tasks, pooled.

    scores  [tasks, seeds] or a list of [..., seeds]; a quarter of the runs, rounded down, is cut on either side
    Returns [...], in units of the scores. Raises ValueError for empty or non-finite scores.
    """
    return trim_mean(np.concatenate(_tasks(scores), axis=-1), 0.25, axis=-1)


def improvement(x, y):
    """Probability of improvement P(X > Y) (Agarwal et al., section 4.3): how likely a run of X beats one of Y on a task.

    The Mann-Whitney U statistic over the product of the numbers of runs, a tie counting half; mean over tasks.
    x, y    [tasks, seeds] or lists of [..., seeds], the same tasks in the same order; seeds may differ in number
    Returns [...] in [0, 1]; 0.5 is no difference. Raises ValueError for empty, non-finite or mismatched scores.
    """
    gaps = [np.sign(a[..., :, None] - b[..., None, :]) for a, b in zip(*_pairs(x, y), strict=True)]
    return np.mean([(1 + g.mean((-1, -2))) / 2 for g in gaps], axis=0)


def profile(scores, thresholds):
    """Performance profile (Agarwal et al., section 4.2, run scores): the share of runs whose score is above each threshold.

    scores      [tasks, seeds] or a list of [..., seeds]; each task weighs the same
    thresholds  [P], in units of the scores
    Returns [..., P] in [0, 1]. Raises ValueError for empty or non-finite scores.
    """
    above = [x[..., None, :] > np.asarray(thresholds, float)[:, None] for x in _tasks(scores)]
    return np.mean([a.mean(-1) for a in above], axis=0)


def interval(statistic, *groups, level=LEVEL, repetitions=2_000, seed=0):
    """Stratified percentile bootstrap (Agarwal et al., section 4.1): the seeds of each task are drawn anew, tasks stay.

    statistic   a function of the groups that keeps leading axes, like `iqm`, `improvement` or `partial(profile, ...)`
    groups      scores, [tasks, seeds] or lists of [seeds]; several groups have the same tasks and are drawn independently
    level       share of the drawn statistics between the two ends
    Returns [2, ...], lower and upper end, in units of the statistic; the same for any order of the tasks and of the
    seeds, and for the same `seed`. Raises ValueError for empty, non-finite or mismatched scores, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    groups = [_tasks(g) for g in groups]
    for other in groups[1:]:
        _pairs(groups[0], other)
    rng = np.random.default_rng(seed)
    tasks = sorted([np.sort(x).tolist() for x in task] for task in zip(*groups, strict=True))
    drawn = [[rng.choice(x, (repetitions, len(x))) for x in task] for task in tasks]
    ends = (1 - level) / 2, (1 + level) / 2
    return np.quantile(statistic(*zip(*drawn, strict=True)), ends, axis=0)

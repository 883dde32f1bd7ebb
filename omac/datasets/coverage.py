"""What a data set covers: its share of distinct state-action pairs, and whether the levels of a map visit the same states."""

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

DECIMALS = 4  # to which states and observations are rounded before pairs are compared, as OG-MARL does
STATES, COMPONENTS, NEAR = 2_000, 10, 0.95  # states drawn per level, principal components, share that sets the radius


def project(states, seed=0):
    """Principal components of the states of several levels together.

    states {level: f32 [rows,S]} -> {level: f64 [STATES or fewer, COMPONENTS or fewer]}, drawn with `seed`, each feature
    scaled to variance 1 over all levels (constant features are left out), components of falling variance, each with its
    largest loading positive, so that a picture does not flip.
    """
    rng = np.random.default_rng(seed)
    drawn = {k: x[np.sort(rng.permutation(len(x))[:STATES])].astype(np.float64) for k, x in states.items()}
    every = np.concatenate(list(drawn.values()))
    mean, std = every.mean(0), every.std(0)
    kept = std > 1e-6
    if not kept.any():
        raise ValueError(f"all {len(every)} states are the same: there is nothing to project")
    scaled = {k: (x[:, kept] - mean[kept]) / std[kept] for k, x in drawn.items()}
    axes = np.linalg.svd(np.concatenate(list(scaled.values())), full_matrices=False)[2][:COMPONENTS]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    return {k: x @ axes.T for k, x in scaled.items()}


def coverage(points):
    """How much of the states of one level another level has: DataFrame with a row and a column per level.

    points as from `project`. Entry (a, b): the share of the states of a with a state of b no further away than the
    radius of a, which is the distance within which 95 % of one half of a's states find one of the other half. So 0.95
    is what a covers of itself; b is searched in samples of the same size.
    """
    table = pd.DataFrame(index=list(points), columns=list(points), dtype=float)
    for a, x in points.items():
        ours, others = x[::2], x[1::2]
        radius = np.quantile(KDTree(others).query(ours)[0], NEAR)
        for b, y in points.items():
            near = KDTree(others if a == b else y[1::2]).query(ours)[0]
            table.loc[a, b] = float((near <= radius).mean())
    return table


def saco(data):
    """Measure the state-action coverage (SACo) of Episodes: distinct pairs over all transitions, 1 where none occurs twice.

    As OG-MARL's cards have it (og_marl/vault_utils/analyse_vault.py, get_saco and get_average_oaco; Formanek et al., "Putting
    Data at the Centre of Offline Multi-Agent Reinforcement Learning", 2024), but that observations are rounded here too.

    Args:
        data: Episodes.
    Returns:
        (joint: pairs of state and joint action, [per agent: pairs of its observation and its action])
    """
    row = data.rows()[1]
    joint = _distinct(data.state[row], data.action)
    return joint, [_distinct(data.obs[row, i], data.action[:, i : i + 1]) for i in range(data.action.shape[1])]


def _distinct(views, actions):
    """The share of distinct rows in views f32 [T,D], rounded, with actions int [T,k]."""
    pairs = np.concatenate([np.round(views, DECIMALS) + np.float32(0), actions], 1, dtype=np.float32)  # + 0: never -0
    return len({row.tobytes() for row in pairs}) / len(pairs)

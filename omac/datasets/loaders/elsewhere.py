"""Environments that are not StarCraft II: what flags and rewards say of them, and no more. Whether an episode was won is unknown."""

import numpy as np

from omac.data.validation import WHOLE, DataError

LEAST = 1e-3  # a reward scale, where nothing was paid
NO_FINAL_VIEW = (
    "The files keep no view after the last step: where an episode is terminated the final row is zeros with only action 0 available (never "
    "used, nothing follows an end); where it is truncated the last step is dropped, so that the last recorded view is the final one"
)


def is_starcraft(env):
    """Say whether SMAC's limits, sizes, pay and signs of a win hold for an environment."""
    return env.startswith("smac")


def reward_scale(name, reward, start):
    """Find the scale of rewards f64 [T] of episodes that begin at start int [N + 1]: the largest |return| or |reward|.

    Raises DataError for one beyond what an attribute may say.
    """
    largest = max(np.abs(np.add.reduceat(reward, start[:-1])).max(), np.abs(reward).max(), LEAST)
    if not largest <= WHOLE:
        raise DataError(
            name,
            "reward",
            f"returns reach {largest:g}",
            "rewards that nobody scaled: divide them, 20 is the paper's scale",
        )
    return float(largest)


def told(episodes, truncated):
    """Say what was read from where, in words."""
    return (
        f"Ends are as the file flags them: {episodes - truncated} of {episodes} terminated, {truncated} truncated. Rewards are as "
        "recorded. The horizon is the longest episode. The file does not say what a win is: every outcome is unknown"
    )

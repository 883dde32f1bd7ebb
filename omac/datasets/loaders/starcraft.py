"""What the layouts of StarCraft II data share: SMAC's numbers, and battles one by one -> Episodes."""

from itertools import islice
from typing import NamedTuple

import numpy as np

from omac.data.episodes import Episodes
from omac.data.validation import LARGEST_SMAC, LARGEST_VALUE, DataError, beyond

GROUP = 256  # battles that are in memory at a time
LIMITS = {  # SMAC's step limits
    "3m": 60,
    "8m": 120,
    "25m": 150,
    "5m_vs_6m": 70,
    "8m_vs_9m": 120,
    "10m_vs_11m": 150,
    "27m_vs_30m": 180,
    "MMM": 150,
    "MMM2": 180,
    "2s3z": 120,
    "3s5z": 150,
    "3s5z_vs_3s6z": 170,
    "3s_vs_3z": 150,
    "3s_vs_4z": 200,
    "3s_vs_5z": 250,
    "1c3s5z": 180,
    "2m_vs_1z": 150,
    "corridor": 400,
    "6h_vs_8z": 150,
    "2s_vs_1sc": 300,
    "so_many_baneling": 100,
    "bane_vs_bane": 200,
    "2c_vs_64zg": 400,
}
SIZES = {  # n, O, S, A; None: not known here, the file decides
    "smac": {
        "3m": (3, 30, 48, 9),
        "8m": (8, 80, 168, 14),
        "2s3z": (5, 80, 120, 11),
        "3s_vs_5z": (3, 48, 68, 11),
        "5m_vs_6m": (5, 55, 98, 12),
        "6h_vs_8z": (6, 78, 140, 14),
        "3s5z_vs_3s6z": (8, 136, 230, 15),
        "corridor": (6, 156, 282, 30),
        "2c_vs_64zg": (2, 332, 342, 70),
    },
    "smac-madt": {
        "5m_vs_6m": (5, 124, None, 12),
        "6h_vs_8z": (6, 172, None, 14),
        "3s5z_vs_3s6z": (8, 268, None, 15),
        "corridor": (6, 346, None, 30),
        "2c_vs_64zg": (2, 478, None, 70),
    },
}
NO_FINAL_VIEW = (
    "The files keep no view after the last step: where a battle was decided the final row is zeros with only action 0 available (never used, "
    "nothing follows an end); where the time limit ended it the last step is dropped, so that the last recorded view is the final one"
)


class RecordedBattle(NamedTuple):
    """One battle of t steps: obs [t+1,n,O], state [t+1,S], avail [t+1,n,A], action [t,n], reward [t]; how it ended.

    unknown: whether it was won cannot be told.
    """

    obs: np.ndarray
    state: np.ndarray
    avail: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    truncated: bool
    win: bool
    unknown: bool = False


DTYPES = {"obs": np.float32, "state": np.float32, "avail": bool, "action": np.int16, "reward": np.float32}


def typed(name, battle, env="smac"):
    """Return the RecordedBattle with the types of Episodes. Raises DataError for a value that a type cannot hold, or that cannot be one."""
    largest = LARGEST_SMAC if env.startswith("smac") else LARGEST_VALUE
    x = {k: getattr(battle, k) for k in DTYPES}
    for key in ("obs", "state", "reward"):
        numbers(name, key, x[key])
        if found := beyond(key, x[key], np.finfo(np.float32).max if key == "reward" else largest):
            raise DataError(name, *found)
    flags(name, "avail", x["avail"])
    whole(name, "action", x["action"], x["avail"].shape[-1])
    return battle._replace(**{k: v.astype(DTYPES[k]) for k, v in x.items()})


def numbers(name, key, x):
    """Raise DataError unless `x` is an array of real numbers."""
    if x.dtype.kind not in "biuf":
        raise DataError(name, key, f"{x.dtype}", "real numbers are expected: another layout")


def flags(name, key, x):
    """`x` as bool. Raises DataError for anything but 0 and 1."""
    numbers(name, key, x)
    good = (x == 0) | (x == 1)
    if not good.all():
        found = f"{x[~good][0]!r} at {np.argwhere(~good)[0].tolist()}, 0 or 1 is expected"
        raise DataError(name, key, found, "no flags, or damaged ones")
    return x != 0


def whole(name, key, x, count):
    """Raise DataError unless all of `x` are whole numbers from 0 on, below `count`."""
    numbers(name, key, x)
    good = (x >= 0) & (x < count) & (x == np.floor(x)) if x.dtype.kind == "f" else (x >= 0) & (x < count)
    if not good.all():
        found = f"{x[~good][0]!r} at {np.argwhere(~good)[0].tolist()}, there are {count}, counted from 0"
        raise DataError(name, key, found, "actions of another map, counted from 1, or no actions")


def limit_of(map_name, file, padded=None):
    """Return the step limit of a map: SMAC's, or for a map that is not SMAC's the length that the file is padded to. Raises DataError."""
    if map_name not in LIMITS and padded is None:
        raise DataError(file, "map", f"the step limit of {map_name} is not known", f"not one of {', '.join(LIMITS)}")
    return LIMITS.get(map_name, padded)


def sizes_of(env, map_name, found):
    """[n, O, S, A] that the data must have: SMAC's where known, `found` elsewhere."""
    known = SIZES.get(env, {}).get(map_name, (None,) * 4)
    return [int(f if k is None else k) for k, f in zip(known, found, strict=True)]


def close_battle(obs, state, avail, action, reward, truncated, win, unknown=False):
    """Return a RecordedBattle from t views and t steps that lack the view after the last step, as NO_FINAL_VIEW says."""
    if truncated:
        return RecordedBattle(obs, state, avail, action[:-1], reward[:-1], True, False, unknown)

    def longer(x):
        return np.concatenate([x, np.zeros((1, *x.shape[1:]), x.dtype)])

    avail = longer(avail)
    avail[-1, :, 0] = True
    return RecordedBattle(longer(obs), longer(state), avail, action, reward, False, bool(win), bool(unknown))


def group_battles(battles, about):
    """Yield Episodes of at most GROUP battles each, from an iterable of RecordedBattle of the types in DTYPES."""
    battles = iter(battles)
    while part := list(islice(battles, GROUP)):
        last = np.cumsum([len(b.reward) for b in part]) - 1
        truncated, win, unknown = (np.array([getattr(b, k) for b in part]) for k in ("truncated", "win", "unknown"))
        ends = np.zeros((2, last[-1] + 1), bool)
        ends[truncated.astype(int), last] = True
        rows = {k: np.concatenate([getattr(b, k) for b in part]) for k in DTYPES}
        yield Episodes(
            **rows,
            terminated=ends[0],
            truncated=ends[1],
            start=np.concatenate([[0], last + 1]),
            win=win,
            id=np.arange(len(part)),
            policy=np.zeros(len(part), np.int32),
            about={**about, "unknown_outcomes": np.flatnonzero(unknown).tolist()} if unknown.any() else about,
        )

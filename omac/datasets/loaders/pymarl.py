"""PyMARL's padded HDF5 (ICQ, CFCQL, ODIS, OffPyMARL): [episodes, limit + 1, ...], `filled` marks what was played."""

import contextlib

import h5py
import numpy as np

from omac.data.validation import DataError
from omac.datasets.loaders.starcraft import GROUP, WIN, RecordedBattle, group_battles, limit_of, sizes_of
from omac.paths import shown

AXES = {"obs": 4, "state": 3, "avail_actions": 4, "actions": 3, "reward": 2, "terminated": 2, "filled": 2}
KEYS = tuple(AXES)  # all but the first three may have a last axis of 1
BROKEN = 0.01  # share of battles that may have broken off; more, and the flags mean something else
MEDIVACS = ("MMM",)  # maps on which a battle is lost with a medivac alive


def load(files, about):
    """Yield Episodes from h5 files, one after another in the given order. Raises DataError for what is not PyMARL's layout."""
    with contextlib.ExitStack() as stack:
        opened = [(shown(p), stack.enter_context(_open(p))) for p in files]
        first = opened[0][1]
        for name, f in opened:
            if any(f[k].shape[1:] != first[k].shape[1:] for k in KEYS):
                raise DataError(
                    name, "obs", f"{f['obs'].shape[1:]} in {len(opened)} files of several shapes", "parts of two maps"
                )
        limit = limit_of(about["map"], opened[0][0], first["filled"].shape[1] - 1)
        blocks = [(name, f, lo) for name, f in opened for lo in range(0, len(f["filled"]), GROUP)]
        if not blocks:
            raise DataError(opened[0][0], "filled", "no episodes", "an empty upload")
        ends = [_ends(name, f, lo, limit, about["map"]) for name, f, lo in blocks]
        broken, battles = sum(int(e[3].sum()) for e in ends), sum(len(e[0]) for e in ends)
        if broken > max(1, BROKEN * battles):
            raise DataError(
                opened[0][0],
                "terminated",
                f"{broken} of {battles} battles end undecided before the limit of {limit} steps",
                "another step limit, or flags that are not ends",
            )
        found = [*first["obs"].shape[2:], first["state"].shape[2], first["avail_actions"].shape[3]]
        said = "The view after the last step is in the file and kept. An end that the time limit set is truncated, not terminated"
        if broken:
            said += f", and so is the end of {broken} battle{'s' * (broken > 1)} that came undecided before it, as after a restart of the simulator"
        about = {
            **about,
            "horizon": int(limit),
            "sizes": sizes_of(about["env"], about["map"], found),
            "conversion": f"{said}. Won: terminated with a return of 20 or more.",
        }
        yield from group_battles(
            (b for (_, f, lo), e in zip(blocks, ends, strict=True) for b in _battles(f, lo, e)), about
        )


def _open(path):
    """The open file. Raises DataError when it is damaged or another layout."""
    try:
        f = h5py.File(path, "r")
        shapes = {k: f[k].shape if isinstance(f.get(k), h5py.Dataset) else None for k in KEYS}
        there = sorted(f)
    except (OSError, RuntimeError, KeyError, ValueError) as e:
        raise DataError(shown(path), "file", _line(e), "truncated, damaged or no HDF5 file: get it again") from None
    missing = [k for k in KEYS if shapes[k] is None]
    if missing:
        raise DataError(shown(path), missing[0], f"not in the file, which has {there}", "another layout than PyMARL's")
    wide = [len(s) == AXES[k] or (k in KEYS[3:] and s[AXES[k] :] == (1,)) for k, s in shapes.items()]
    if not all(wide) or len({s[:2] for s in shapes.values()}) > 1:
        raise DataError(shown(path), "obs", f"shapes {shapes}", "another layout than PyMARL's [episodes, steps, ...]")
    return f


def _line(error):
    return str(error).replace("\n", " ")


def _read(f, key, lo):
    """Episodes lo to lo + GROUP of a dataset, without PyMARL's last axis of 1. Raises DataError for damaged bytes."""
    try:
        x = f[key][lo : lo + GROUP]
    except (OSError, RuntimeError, ValueError) as e:
        raise DataError(shown(f.filename), key, _line(e), "truncated or damaged file: get it again") from None
    return x.reshape(x.shape[: AXES[key]])


def _ends(name, f, lo, limit, map_name):
    """Of up to GROUP episodes: steps int [N]; truncated, win, broken off bool [N]. Raises DataError where the flags say nothing."""
    filled, flag = _read(f, "filled", lo) > 0, _read(f, "terminated", lo) > 0
    steps, e = filled.sum(1) - 1, np.arange(len(filled))

    def refuse(bad, field, found, cause):
        if bad.any():
            raise DataError(name, field, f"episode {lo + int(np.argmax(bad))} {found}", cause)

    refuse(~filled[:, 0] | (filled[:, 1:] > filled[:, :-1]).any(1), "filled", "has a gap", "a cut or mixed-up file")
    refuse(steps < 1, "filled", "has no step", "the view after the last step was dropped, or an empty slot saved")
    refuse(steps > limit, "filled", f"is longer than {limit} steps", "another map or step limit")
    ended = flag[e, steps - 1]
    flag[e, steps - 1] = False
    refuse(
        (flag & filled).any(1),
        "terminated",
        "is flagged elsewhere than at its last step",
        "ends are out of step with filled",
    )
    refuse(
        ~ended & (steps < limit),
        "terminated",
        f"stops unflagged before its limit of {limit} steps",
        "the terminal transition was dropped",
    )
    alive = (_read(f, "avail_actions", lo)[e, steps][..., 1:] > 0).any((1, 2))  # the dead have the no-op alone
    played = np.where(np.arange(filled.shape[1]) < steps[:, None], _read(f, "reward", lo), 0)
    won = ended & alive & (played.sum(1, dtype=np.float64) >= WIN)
    undecided = alive & ~won
    if map_name.startswith(MEDIVACS):
        undecided &= steps == limit
    return steps, undecided, won, undecided & (steps < limit)


def _battles(f, lo, ends):
    keys = ("obs", "state", "avail_actions", "actions", "reward")
    obs, state, avail, action, reward = (_read(f, k, lo) for k in keys)
    for e, (t, truncated, win) in enumerate(zip(*ends[:3], strict=True)):
        v = t + 1
        yield RecordedBattle(obs[e, :v], state[e, :v], avail[e, :v] > 0, action[e, :t], reward[e, :t], truncated, win)

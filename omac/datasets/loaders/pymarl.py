"""PyMARL's padded HDF5 (ICQ, CFCQL, ODIS, OffPyMARL): [episodes, limit + 1, ...], `filled` marks what was played."""

import contextlib
from typing import NamedTuple

import numpy as np

from omac.data import hdf5
from omac.data.validation import DataError, beyond, returns_to_go
from omac.datasets.loaders import elsewhere, outcomes
from omac.datasets.loaders.starcraft import (
    GROUP,
    RecordedBattle,
    flags,
    group_battles,
    limit_of,
    numbers,
    sizes_of,
    typed,
)
from omac.paths import shown

AXES = {"obs": 4, "state": 3, "avail_actions": 4, "actions": 3, "reward": 2, "terminated": 2, "filled": 2}
KEYS = tuple(AXES)  # all but the first three may have a last axis of 1
FINAL_VIEW = "The view after the last step is in the file and kept"
DAMAGED = "truncated, damaged or no HDF5 file: get it again"


class Look(NamedTuple):
    """What is known of N battles before they are read: steps int [N], reward f64 [sum of steps], all else bool [N].

    flagged: its last step ends it. alive: somebody lives in the last view. attack: somebody has an enemy in range there.
    readable, fallen: see outcomes.fallen.
    """

    steps: np.ndarray
    flagged: np.ndarray
    alive: np.ndarray
    attack: np.ndarray
    readable: np.ndarray
    fallen: np.ndarray
    reward: np.ndarray


class Ends(NamedTuple):
    """How N battles ended, bool [N] each; broken: undecided before the limit, as after a restart of the simulator."""

    truncated: np.ndarray
    win: np.ndarray
    unknown: np.ndarray
    broken: np.ndarray


def load(files, about):
    """Yield Episodes from h5 files, one after another in the given order. Raises DataError for what is not PyMARL's layout."""
    with contextlib.ExitStack() as stack:
        opened = [(shown(p), _open(p, stack)) for p in files]
        name, first = opened[0]
        sizes = _sizes(first)
        for other, x in opened:  # how far a file is padded says nothing of its map
            if _sizes(x) != sizes:
                found = f"[n, O, S, A] is {_sizes(x)}, in {name} it is {sizes}"
                raise DataError(other, "obs", found, "parts of two maps")
        starcraft = elsewhere.is_starcraft(about["env"])
        limit = max(x["filled"].shape[1] for _, x in opened) - 1
        limit = limit_of(about["map"], name, limit) if starcraft else limit
        blocks = [(file, x, lo) for file, x in opened for lo in range(0, len(x["filled"]), GROUP)]
        if not blocks:
            raise DataError(name, "filled", "no episodes", "an empty upload")
        holes = {file: {k: hdf5.unwritten(v) for k, v in x.items()} for file, x in opened}
        map_name = about["map"] if starcraft else None
        looks = [_look(file, x, lo, limit, map_name, holes[file]) for file, x, lo in blocks]
        look = Look(*map(np.concatenate, zip(*looks, strict=True)))
        about = {**about, "sizes": sizes_of(about["env"], about["map"], sizes)}
        if starcraft:
            ends = _ends(name, look, limit, map_name)
            about |= {"horizon": int(limit), "conversion": _said(map_name, look, ends)}
        else:
            ends = _flagged(name, look)
            about |= {
                "horizon": int(look.steps.max()),
                "conversion": f"{FINAL_VIEW}. {elsewhere.told(len(look.steps), int(ends.truncated.sum()))}",
            }
            about["reward_scale"] = elsewhere.reward_scale(name, look.reward, _offsets(look))
        parts = np.split(np.arange(len(look.steps)), np.cumsum([len(x.steps) for x in looks])[:-1])
        yield from group_battles(
            (
                typed(place, b, about["env"])
                for (file, x, lo), at in zip(blocks, parts, strict=True)
                for place, b in _battles(file, x, lo, look, ends, at)
            ),
            about,
        )


def _open(path, stack):
    """The arrays of a file, not yet read, {key: h5py.Dataset}. Raises DataError when it is damaged or another layout."""
    f = stack.enter_context(hdf5.opened(path, DAMAGED))
    found = hdf5.arrays(f, KEYS, "another layout than PyMARL's", whole=False)
    shapes = {k: x.shape for k, x in found.items()}
    wide = [len(s) == AXES[k] or (k in KEYS[3:] and s[AXES[k] :] == (1,)) for k, s in shapes.items()]
    if not all(wide) or len({s[:2] for s in shapes.values()}) > 1 or shapes["filled"][1] < 2:
        raise DataError(shown(path), "obs", f"shapes {shapes}", "another layout than PyMARL's [episodes, steps, ...]")
    agents = {k: shapes[k][2] for k in ("obs", "avail_actions", "actions")}
    if len(set(agents.values())) > 1:
        raise DataError(shown(path), "obs", f"{agents} agents", "arrays of different maps")
    return found


def _sizes(x):
    return [*x["obs"].shape[2:], x["state"].shape[2], x["avail_actions"].shape[3]]


def _read(x, key, lo):
    """Episodes lo to lo + GROUP of an array, without PyMARL's last axis of 1. Raises DataError for damaged bytes."""
    block = hdf5.read_array(x[key], slice(lo, lo + GROUP), DAMAGED)
    return block.reshape(block.shape[: AXES[key]])


def _look(name, x, lo, limit, map_name, holes):
    """The Look at up to GROUP episodes. Raises DataError where their flags say nothing. map_name: None, not StarCraft II's."""
    filled, flag = (flags(name, k, _read(x, k, lo)) for k in ("filled", "terminated"))
    steps, e = filled.sum(1) - 1, np.arange(len(filled))

    def refuse(bad, field, found, cause):
        if bad.any():
            raise DataError(name, field, f"episode {lo + int(np.argmax(bad))} {found}", cause)

    refuse(~filled[:, 0] | (filled[:, 1:] > filled[:, :-1]).any(1), "filled", "has a gap", "a cut or mixed-up file")
    refuse(steps < 1, "filled", "has no step", "the view after the last step was dropped, or an empty slot saved")
    refuse(steps > limit, "filled", f"is longer than {limit} steps", "another map or step limit")
    for key in KEYS:  # of the padding nothing need be written
        refuse((holes[key][lo : lo + GROUP] & filled).any(1), key, "is not written to its end", "an upload broken off")
    flagged = flag[e, steps - 1]
    flag[e, steps - 1] = False
    refuse(
        (flag & filled).any(1),
        "terminated",
        "is flagged elsewhere than at its last step",
        "ends are out of step with filled",
    )
    refuse(
        ~flagged & (steps < limit) & (map_name is not None),
        "terminated",
        f"stops unflagged before its limit of {limit} steps",
        "the terminal transition was dropped",
    )
    avail, state, reward = (_read(x, k, lo) for k in ("avail_actions", "state", "reward"))
    for key, values in (("state", state), ("reward", reward)):
        numbers(name, key, values)
    reward = reward[np.arange(filled.shape[1]) < steps[:, None]]
    if found := beyond("reward", reward, np.finfo(np.float32).max):
        raise DataError(name, *found)
    last = flags(name, "avail_actions", avail[e, steps])
    n, _, _, A = _sizes(x)
    fallen = np.zeros((2, len(e)), bool) if map_name is None else outcomes.fallen(map_name, state, filled, n, A)
    return Look(
        steps,
        flagged,
        last[..., 1:].any((1, 2)),  # the dead have the no-op alone
        last[..., outcomes.NO_ATTACKS :].any((1, 2)),
        *fallen,
        reward.astype(np.float64),
    )


def _offsets(look):
    """Where the rewards of each battle begin, int [N + 1]."""
    return np.concatenate([[0], np.cumsum(look.steps)])


def _flagged(name, look):
    """How episodes of an unknown environment ended: as flagged. Raises DataError for returns-to-go in place of rewards."""
    if found := returns_to_go(look.reward, _offsets(look)):
        raise DataError(name, *found)
    never = np.zeros(len(look.steps), bool)
    return Ends(truncated=~look.flagged, win=never, unknown=~never, broken=never)


def _ends(name, look, limit, map_name):
    """How all battles ended. Raises DataError where rewards, states and flags contradict one another."""
    start, count = _offsets(look), len(look.steps)
    if found := returns_to_go(look.reward, start):
        raise DataError(name, *found)
    returns, paid = np.add.reduceat(look.reward, start[:-1]), outcomes.pay(map_name, look.reward, start)
    outcomes.check_scale(name, returns, paid)
    decided = look.flagged & look.alive
    if paid is None:
        paid_for, doubtful = np.zeros(count, bool), decided & ~look.readable & ~look.attack
    else:
        paid_for, doubtful = paid.won, decided & ~look.readable & ~look.attack & paid.odd & (look.steps < limit)
        torn = decided & look.readable & (look.fallen != paid.won)
        if torn.sum() > max(1, outcomes.RARE * count):
            raise DataError(
                name,
                "reward",
                f"{torn.sum()} of {count} battles are won by their last state alone, or by their last reward alone; "
                f"returns reach {returns.max():.3g}, a win's is 20",
                "another reward scale, or rewards that are out of step with the states",
            )
        doubtful |= torn
    shows = np.where(look.readable, look.fallen, paid_for)
    win, undecided = decided & shows & ~doubtful, look.alive & ~(decided & shows) & ~doubtful
    if map_name in outcomes.MEDIVACS:  # a battle is lost with a medivac alive
        undecided &= look.steps == limit
    broken = undecided & (look.steps < limit)
    if broken.sum() > max(1, outcomes.RARE * count):
        found = f"{broken.sum()} of {count} battles end undecided before the limit of {limit} steps"
        cause = "another step limit, or flags that are not ends"
        if returns.max() < outcomes.LEAST:
            found, cause = (
                f"{found}, and no return is beyond {returns.max():.3g}",
                "another reward scale: a win must return 20",
            )
        raise DataError(name, "terminated" if returns.max() >= outcomes.LEAST else "reward", found, cause)
    truncated = undecided | (doubtful & (look.steps == limit) & ~look.fallen)
    return Ends(truncated, win, doubtful, broken)


def _said(map_name, look, ends):
    """What was read from where, in words."""
    said = f"{FINAL_VIEW}. An end that the time limit set is truncated, not terminated"
    if broken := int(ends.broken.sum()):
        said += f", and so is the end of {broken} battle{'s' * (broken > 1)} that came undecided before it, as after a restart of the simulator"
    return f"{said}. {outcomes.told(map_name, bool(look.readable.all()), int(ends.unknown.sum()))}"


def _battles(name, x, lo, look, ends, at):
    """Yield (where it is, RecordedBattle) of the battles at places `at` of all, which begin at `lo` in this file."""
    blocks = [_read(x, k, lo) for k in ("obs", "state", "avail_actions", "actions", "reward")]
    for e, i in enumerate(at):
        t = look.steps[i]
        rows = [block[e, : t + 1] for block in blocks[:3]] + [block[e, :t] for block in blocks[3:]]
        yield f"{name}: episode {lo + e}", RecordedBattle(*rows, *(bool(k[i]) for k in ends[:3]))

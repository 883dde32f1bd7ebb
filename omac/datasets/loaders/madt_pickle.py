"""MADT's and OMIGA's pickles: one file a battle, [agent][t] = [g, o, a, r, d, avail], lists or NumPy arrays."""

import numpy as np

from omac.data.validation import WHOLE, DataError, beyond, returns_to_go
from omac.datasets.loaders import elsewhere, outcomes, pickles
from omac.datasets.loaders.starcraft import (
    NO_FINAL_VIEW,
    close_battle,
    flags,
    group_battles,
    limit_of,
    numbers,
    sizes_of,
    typed,
)
from omac.paths import shown
from omac.progress import bar

AGENTS, WIDEST = 30, 10_000  # at most, and numbers of one view
SHARED = 64  # places that may hold the same numbers, as all agents do that share a view
NUMBERS = {int, float, bool}
HOW_READ = (
    "The state is all agents' g, one after another. An agent whose record stops at its death has zeros but for its id, the no-op "
    "and no other action from there"
)
CAUSE = "another layout than [agent][t] = [g, o, a, r, d, avail]"


def load(files, about):
    """Yield Episodes from pickles, in the given order. Raises DataError for a file that holds more than numbers or another layout."""
    starcraft = elsewhere.is_starcraft(about["env"])
    limit = limit_of(about["map"], shown(files[0])) if starcraft else WHOLE
    about = {**about, "sizes": sizes_of(about["env"], about["map"], _widths(_read(files[0], limit))), "horizon": limit}
    if not starcraft:
        yield from _of_any_environment(files, about)
        return
    said = f"{NO_FINAL_VIEW} (truncated: not won and as long as the limit; the card counts them)"
    about["conversion"] = f"{said}. {HOW_READ}. {outcomes.told(about['map'], False, 0)}"
    yield from group_battles(_battles(files, about), about)


def _of_any_environment(files, about):
    """The same where no limit and no scale is known: all is read before the first part, for they are what was recorded."""
    battles = [
        typed(shown(path), close_battle(**x, truncated=False, win=False, unknown=True), about["env"])
        for path, x in _all(files, about)
    ]
    reward = np.concatenate([b.reward for b in battles]).astype(np.float64)
    start = np.concatenate([[0], np.cumsum([len(b.reward) for b in battles])])
    name = shown(files[0].parent)
    if found := returns_to_go(reward, start):
        raise DataError(name, *found)
    about |= {"horizon": int(np.diff(start).max()), "reward_scale": elsewhere.reward_scale(name, reward, start)}
    about["conversion"] = f"{elsewhere.NO_FINAL_VIEW}. {HOW_READ}. {elsewhere.told(len(battles), 0)}"
    yield from group_battles(battles, about)


def _widths(x):
    return [*x["obs"].shape[1:], x["state"].shape[1], x["avail"].shape[2]]


def _all(files, about):
    """Yield (path, battle as of `_read`). Raises DataError for one of other sizes than the first."""
    with bar(f"{about['map']} {about['level']}", len(files), "episode") as progress:
        for path in files:
            x = _read(path, about["horizon"])
            if _widths(x) != about["sizes"]:
                found = f"[n, O, S, A] is {_widths(x)}, expected {about['sizes']}"
                raise DataError(shown(path), "o", found, "another map or observation")
            progress.update()
            yield path, x


def _battles(files, about):
    for path, x in _all(files, about):
        steps = len(x["reward"])
        paid = outcomes.pay(about["map"], x["reward"].astype(np.float64), np.array([0, steps]))
        if paid.early[0] and outcomes.bonus(about["map"])[0] >= outcomes.PHYSICAL:
            raise DataError(
                shown(path), "r", "the bonus of a win is paid before the last step", "ends that are out of step"
            )
        win, unknown = bool(paid.won[0]), bool(paid.odd[0]) and steps < about["horizon"]
        truncated = not win and steps == about["horizon"]
        yield typed(shown(path), close_battle(**x, truncated=truncated, win=win, unknown=unknown))


def _read(path, limit):
    """One battle as arrays {obs, state, avail, action, reward} of t steps each, `limit` at most. Raises DataError."""
    name, agents = shown(path), _unpickled(path)
    try:
        _check(agents, SHARED * path.stat().st_size)
        columns = [[np.asarray(c) for c in zip(*(step[:6] for step in agent), strict=True)] for agent in agents]
        for column in columns:
            for key, x in zip(("g", "o", "a", "r", "d", "avail"), column, strict=True):
                numbers(name, key, x)
            if found := beyond("r", column[3], np.finfo(np.float32).max):
                raise DataError(name, *found)
        steps = max(len(c[0]) for c in columns)
        if steps > limit:
            raise DataError(name, "r", f"{steps} steps, the limit is {limit}", "another map or two battles")
        columns = [_padded(name, i, c, steps, len(columns)) for i, c in enumerate(columns)]
        g, o, a, r, d, avail = (np.stack(x).reshape(len(columns), steps, -1) for x in zip(*columns, strict=True))
        a, r, d = (x.reshape(len(columns), steps) for x in (a, r, d))
    except DataError:
        raise
    except (TypeError, ValueError, IndexError) as e:
        raise DataError(name, "file", str(e), CAUSE) from None
    except MemoryError as e:
        raise DataError(name, "file", f"too little memory: {e}", "a small machine, or another layout") from None
    d, avail = flags(name, "d", d), flags(name, "avail", avail)
    team, over = np.nanmax(r, 0), d.all(0)
    if (np.nanmin(r, 0) != team).any():
        raise DataError(
            name, "r", f"agents are paid {r[:, int((r != team).any(0).argmax())].tolist()}", "no team reward: not SMAC"
        )
    if not over[-1]:
        raise DataError(name, "d", f"no end at step {steps - 1}, its last", "the terminal transition was dropped")
    if over[:-1].any():
        raise DataError(
            name, "d", f"ends at step {int(over.argmax())} of {steps}", "two battles in one file, or deaths as ends"
        )
    by_step = {"obs": o, "state": g, "avail": avail, "action": a}
    x = {k: np.swapaxes(v, 0, 1) for k, v in by_step.items()}
    return {**x, "state": x["state"].reshape(steps, -1), "reward": team}


def _padded(name, agent, column, steps, n):
    """An agent's columns up to the end of the battle, if its record stops at its death. Raises DataError if it can't be told."""
    g, o, a, r, d, avail = column
    missing, me = steps - len(d), np.eye(n)[agent]
    if not missing:
        return column
    if not np.all(d[-1]) or any(np.any(x[:, -n:] != me) for x in (g, o)):
        raise DataError(
            name,
            "d",
            f"agent {agent} has {len(d)} of {steps} steps",
            "cut elsewhere than at its death: take the unpruned files",
        )
    dead = [np.tile(np.concatenate([np.zeros(x.shape[1] - n), me]), (missing, 1)) for x in (g, o)]
    rest = [
        *dead,
        np.zeros((missing, *a.shape[1:]), a.dtype),
        np.full((missing, *r.shape[1:]), np.nan),
        np.ones((missing, *d.shape[1:]), bool),
        np.tile(np.arange(avail.shape[1]) == 0, (missing, 1)),
    ]
    return [np.concatenate([x, more]) for x, more in zip(column, rest, strict=True)]


def _check(agents, room):
    """Raise ValueError or TypeError unless `agents` are lists of steps of six columns of numbers, at most `room` in all.

    A column has as many numbers in every step, and in every agent's.
    """
    if type(agents) not in (list, tuple) or not 1 <= len(agents) <= AGENTS:
        count = f" of {len(agents)}" if isinstance(agents, (list, tuple)) else ""
        raise TypeError(f"a {type(agents).__name__}{count}, a list of 1 to {AGENTS} agents is expected")
    first = None
    for agent in agents:
        if type(agent) not in (list, tuple) or not agent:
            raise TypeError(f"an agent is {type(agent).__name__}, a list of steps is expected")
        for t, step in enumerate(agent):
            if type(step) not in (list, tuple) or len(step) < 6:
                raise TypeError(f"a step is {type(step).__name__}, [g, o, a, r, d, avail] is expected")
            counts = list(map(_numbers, step[:6]))
            room, first = room - sum(counts), first or counts
            if room < 0 or max(counts) > WIDEST:
                raise ValueError("more numbers than the file, or a view, can hold")
            if counts != first:
                raise ValueError(f"step {t} of an agent has {counts} numbers in its columns, the first step {first}")
            for x in step[:6]:
                if type(x) in (list, tuple) and not set(map(type, x)) <= NUMBERS:
                    raise TypeError("a column holds other things than numbers")


def _numbers(x):
    """How many numbers a column of one step has. Raises TypeError for what is no column."""
    if type(x) in NUMBERS:
        return 1
    if type(x) not in (list, tuple) and not (type(x) is np.ndarray and x.ndim < 2):
        raise TypeError(f"a column is {type(x).__name__}, a list of numbers is expected")
    return max(1, x.size if type(x) is np.ndarray else len(x))


def _unpickled(path):
    """What a file holds, if it is nothing but lists and numbers. Raises DataError; no code in it ever runs."""
    try:
        return pickles.load(path)
    except pickles.Refused as e:
        raise DataError(
            shown(path), "file", str(e), "damaged, or a pickle of more than numbers: get it again"
        ) from None
    except MemoryError as e:
        raise DataError(shown(path), "file", f"too little memory: {e}", "a small machine, or a damaged file") from None

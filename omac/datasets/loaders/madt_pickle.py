"""MADT's and OMIGA's pickles: one file a battle, [agent][t] = [g, o, a, r, d, avail], lists or NumPy arrays."""

import numpy as np
import torch

from omac.data.validation import DataError
from omac.datasets.loaders.starcraft import NO_FINAL_VIEW, WIN, close_battle, group_battles, limit_of, sizes_of
from omac.paths import shown
from omac.progress import bar

KINDS = "Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64"
SAFE = [  # what numbers in NumPy's pickles need, by its old and its new name; no object arrays, no other code
    *(
        (getattr(np._core.multiarray, f), f"numpy.{c}.multiarray.{f}")
        for f in ("scalar", "_reconstruct")
        for c in ("core", "_core")
    ),
    np.ndarray,
    np.dtype,
    *(getattr(np.dtypes, f"{k}DType") for k in KINDS.split()),
]


def load(files, about):
    """Yield Episodes from pickles, in the given order. Raises DataError for a file that holds more than numbers or another layout."""
    limit = limit_of(about["map"], shown(files[0]))
    first = _read(files[0])
    said = (
        f"{NO_FINAL_VIEW} (truncated: not won and as long as the limit; the card counts them). The state is all agents' g, one after another. An agent whose record "
        "stops at its death has zeros but for its id, the no-op and no other action from there. Won: terminated with a return of 20 or more."
    )
    widths = [*first["obs"].shape[1:], first["state"].shape[1], first["avail"].shape[2]]
    about = {
        **about,
        "horizon": limit,
        "sizes": sizes_of(about["env"], about["map"], widths),
        "conversion": said,
    }
    yield from group_battles(_battles(files, about), about)


def _battles(files, about):
    with bar(f"{about['map']} {about['level']}", len(files), "episode") as progress:
        for path in files:
            x = _read(path)
            found = [*x["obs"].shape[1:], x["state"].shape[1], x["avail"].shape[2]]
            if found != about["sizes"]:
                raise DataError(
                    shown(path),
                    "o",
                    f"[n, O, S, A] is {found}, expected {about['sizes']}",
                    "another map or observation",
                )
            steps = len(x["reward"])
            if steps > about["horizon"]:
                raise DataError(
                    shown(path), "r", f"{steps} steps, the limit is {about['horizon']}", "another map or two battles"
                )
            win = x["reward"].sum(dtype=np.float64) >= WIN
            truncated = not win and steps == about["horizon"]
            progress.update()
            yield close_battle(**x, truncated=truncated, win=win)


def _read(path):
    """One battle as arrays {obs, state, avail, action, reward} of t steps each. Raises DataError."""
    name, agents = shown(path), _unpickled(path)
    try:
        columns = [[np.asarray(c) for c in zip(*(step[:6] for step in agent), strict=True)] for agent in agents]
        steps = max(len(c[0]) for c in columns)
        columns = [_padded(name, i, c, steps, len(columns)) for i, c in enumerate(columns)]
        n, kinds = len(columns), (np.float32, np.float32, np.int64, np.float64, bool, bool)
        g, o, a, r, d, avail = (
            np.stack(x).astype(kind).reshape(n, steps, -1)
            for x, kind in zip(zip(*columns, strict=True), kinds, strict=True)
        )
        a, r, d = (x.reshape(n, steps) for x in (a, r, d))
    except DataError:
        raise
    except (TypeError, ValueError, IndexError) as e:
        cause = "another layout than [agent][t] = [g, o, a, r, d, avail]"
        raise DataError(name, "file", str(e).split("\n")[0], cause) from None
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


def _unpickled(path):
    """What a file holds, if it is nothing but lists and numbers. Raises DataError; no code in it ever runs."""
    try:
        with torch.serialization.safe_globals(SAFE):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # whatever bytes it is given
        lines = str(e).split("\n")
        line = next((s for s in lines if "GLOBAL" in s), lines[0])
        cause = "damaged, or a pickle of more than numbers: such code is never run here"
        raise DataError(shown(path), "file", f"{type(e).__name__}: {line.strip()[:160]}", cause) from None

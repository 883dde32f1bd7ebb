"""Levels of the behaviour policies: snapshots of MAPPO, measured, cut in thirds of mean return, kept in one small file."""

import json

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from omac.envs import make
from omac.evaluation import battle_seeds, evaluate
from omac.files import checked_bytes, record_sums
from omac.nn.networks import AgentMLP, generators
from omac.paths import BEHAVIOUR, atomic, shown
from omac.schema import LEVELS

LEAST, LEAST_SEEDS = 6, 2  # snapshots and training seeds that a level pools at the least
MEASURED = 320  # battles that measure a snapshot's mean return, actions sampled
MEASURING = 3  # first word of those battles' seeds


def snapshot_path(env, map_name, folder=BEHAVIOUR):
    """data/behaviour/<env>-<map>.safetensors."""
    return folder / f"{env}-{map_name}.safetensors"


def cut(returns, first):
    """The level of each mean return: thirds of the way from the first snapshot's mean return to the best one's.

    returns: list of floats; first: the place of the first snapshot. Returns a list of names. Raises ValueError when
    nothing was learned, so that there is no way to cut.
    """
    low, high = returns[first], max(returns)
    if high <= low:
        raise ValueError(
            f"the best of {len(returns)} snapshots returns {high:.2f}, the first one {low:.2f}: nothing was learned, train longer"
        )
    return [LEVELS[2 - int(np.clip((r - low) / (high - low) * 3, 0, 2))] for r in returns]


def save_levels(env, points, folder=BEHAVIOUR):
    """Measure all snapshots that the training checkpoints `points` kept, cut them into levels, write them; returns the path.

    Weights are stored as float16 and measured as stored. Raises ValueError when a level has fewer than six
    snapshots or two training seeds: train longer, or keep snapshots more densely.
    """
    kept = sorted((k for p in points for k in p["kept"]), key=lambda k: (k["seed"], k["update"]))
    states = [{name: x.half().float() for name, x in k["actor"].items()} for k in kept]
    spec = make(env, 1).spec
    seeds = np.stack([battle_seeds(MEASURING, k["seed"], k["update"], shape=(MEASURED,)) for k in kept])
    scores = evaluate(
        env, _actor(spec, states[0]), states, seeds, sample=True, progress=f"measuring {len(kept)} snapshots"
    )
    returns = scores.returns.mean(1).tolist()
    first = min(range(len(kept)), key=lambda i: (kept[i]["steps"], kept[i]["seed"]))
    rows = [
        {
            "name": f"mappo-{k['seed']}-{k['update']}",
            "seed": k["seed"],
            "update": k["update"],
            "steps": k["steps"],
            "level": level,
            "return": round(r, 4),
            "win_rate": round(float(w), 4),
        }
        for k, level, r, w in zip(kept, cut(returns, first), returns, scores.win.mean(1), strict=True)
    ]
    for level in LEVELS:
        members = [r for r in rows if r["level"] == level]
        if len(members) < LEAST or len({r["seed"] for r in members}) < LEAST_SEEDS:
            raise ValueError(
                f"{env}: level {level} has {len(members)} snapshots of seeds {sorted({r['seed'] for r in members})}; at least {LEAST} of "
                f"{LEAST_SEEDS} seeds are needed: train more seeds, longer, or with a smaller keep_every"
            )
    path = snapshot_path(spec.env, spec.map, folder)
    with atomic(path) as part:
        save_file(
            {k: torch.cat([s[k] for s in states]).half() for k in states[0]},
            part,
            metadata={"snapshots": json.dumps(rows), "settings": json.dumps(points[0]["settings"])},
        )
    record_sums(path)
    return path


def load_level(env, map_name, level, folder=BEHAVIOUR):
    """The actor network, its states (one dict per snapshot, [1,...] each) and their rows, for one level.

    Raises FileNotFoundError or ValueError with what there is.
    """
    path = snapshot_path(env, map_name, folder)
    if not path.exists():
        raise FileNotFoundError(
            f"no behaviour policies for {env}:{map_name} ({shown(path)} is missing): run `python -m omac behaviour {map_name}`"
        )
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}; there are {', '.join(LEVELS)}")
    rows, tensors = read_snapshots(path)
    chosen = [i for i, r in enumerate(rows) if r["level"] == level]
    states = [{k: x[i : i + 1] for k, x in tensors.items()} for i in chosen]
    return _actor(make(f"{env}:{map_name}", 1).spec, states[0]), states, [rows[i] for i in chosen]


def read_snapshots(path):
    """Read a snapshot file. Returns (rows, tensors): what each snapshot is, and weights f32 [snapshots,...].

    Raises ValueError for a file that is damaged, or not the one whose sha256 is in its folder's SHA256SUMS.
    """
    checked_bytes(path, f"train the policies anew: `python -m omac behaviour {path.stem.partition('-')[2]}`")
    try:
        with safe_open(path, "pt") as f:
            rows = json.loads(f.metadata()["snapshots"])
            tensors = {k: f.get_tensor(k).float() for k in sorted(f.keys())}
    except (SafetensorError, TypeError, KeyError) as e:
        raise ValueError(
            f"{shown(path)} cannot be read ({e}): restore it with `git checkout -- {shown(path)}`"
        ) from None
    return rows, tensors


def _actor(spec, state):
    return AgentMLP(generators([0]), spec.n, spec.obs, state["first.weight"].shape[-1], spec.actions)


def snapshots(env, map_name):
    """The behaviour policies of a map, all levels, as measured: DataFrame with level, seed, steps, return, win_rate."""
    return pd.DataFrame(read_snapshots(snapshot_path(env, map_name))[0])

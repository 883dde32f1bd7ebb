"""SMAX data sets: battles of the committed behaviour policies of a level, in equal shares, actions sampled."""

from importlib.metadata import version

import numpy as np

from omac.behaviour import levels
from omac.data.episodes import sha256
from omac.envs import make
from omac.envs.smax import FLAGS, PINS, check_exact
from omac.envs.smax_maps import CARD, settings_of
from omac.evaluation import SLOTS, BatchedPolicy, battle_seeds, rollout
from omac.schema import LEVELS

PULLING = 4  # first word of these battles' seeds
UPWARDS = LEVELS[::-1]  # their third word counts from poor


def collect(map_name, level, count, seed, progress=True):
    """Yield parts, Episodes, of `count` episodes of a level in all: battle j of every snapshot, then battle j + 1, so that
    shares differ by one at most.
    """
    if count < 1:
        raise ValueError(f"asked for {count} episodes; at least 1 is needed")
    check_exact()
    net, states, rows = levels.load_level("smax", map_name, level)
    policies = len(states)
    each = -(-count // policies)
    slots = min(each, max(1, SLOTS // policies))
    turns = -(-each // slots)
    battle = make(f"smax:{map_name}", policies * slots)
    act = BatchedPolicy.of(net, states, battle.spec.horizon, sample=True, exact=True)
    about = {
        "level": level,
        "source": "smax",
        "seed": seed,
        "reward_scale": 20,
        "policies": [r["name"] for r in rows],
        "policy_returns": [r["return"] for r in rows],
        "versions": {name: version(name) for name in ("jax", "jaxmarl", "numpy")},
        "simulator": settings_of(map_name),
        "jax": {**PINS, **FLAGS},
        "behaviour": sha256(levels.snapshot_path("smax", map_name)),
    }
    if map_name in CARD:
        about["note"] = CARD[map_name]
    for turn in range(turns):  # a part at a time: only one is ever in memory
        seeds = battle_seeds(PULLING, seed, UPWARDS.index(level), turn, shape=(policies * slots, 1))
        label = f"{map_name} {level}, part {turn + 1} of {turns}" if progress else None
        part = rollout(battle, act, seeds, about, np.repeat(np.arange(policies), slots), label)
        order = np.arange(len(part)).reshape(policies, slots).T.ravel()
        yield part.select(order[: count - turn * len(order)])

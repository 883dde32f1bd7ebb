"""SMAX data sets: battles of the committed behaviour policies of a level, in equal shares, actions sampled."""

from importlib.metadata import version

import numpy as np
import torch

from omac import levels
from omac.envs import make
from omac.evaluation import SLOTS, Stack, battle_seeds, rollout

PULLING = 4  # first word of these battles' seeds


def roll_out(map_name, level, count, seed, progress=True):
    """Yield parts, Episodes, of `count` episodes of a level in all: battle j of every snapshot, then battle j + 1, so that
    shares differ by one at most.
    """
    net, states, rows = levels.load("smax", map_name, level)
    policies = len(states)
    each = -(-count // policies)
    slots = min(each, max(1, SLOTS // policies))
    turns = -(-each // slots)
    battle = make(f"smax:{map_name}", policies * slots)
    stack = {k: torch.cat([s[k] for s in states]) for k in states[0]}
    act = Stack(lambda x: torch.func.functional_call(net, stack, x), policies, battle.spec.horizon, sample=True)
    spec = battle.spec
    about = {"level": level, "source": "smax", "seed": seed, "reward_scale": 20, "policies": [r["name"] for r in rows],
             "policy_returns": [r["return"] for r in rows], "sizes": [spec.n, spec.obs, spec.state, spec.actions],
             "versions": {name: version(name) for name in ("jax", "jaxmarl", "numpy")}}
    for turn in range(turns):  # a part at a time: only one is ever in memory
        seeds = battle_seeds(PULLING, seed, levels.LEVELS.index(level), turn, shape=(policies * slots, 1))
        label = f"{map_name} {level}, part {turn + 1} of {turns}" if progress else None
        part = rollout(battle, act, seeds, about, np.repeat(np.arange(policies), slots), label)
        order = np.arange(len(part)).reshape(policies, slots).T.ravel()
        yield part.select(order[: count - turn * len(order)])

"""MADT's observation: the StarCraft package's own, rearranged for policies trained on MADT's data."""

from typing import NamedTuple

import numpy as np

MOVES = 4  # north, south, east, west
PLACE = 4  # of every unit: visible (an enemy: in range), distance, relative x, relative y


class Layout(NamedTuple):
    """What decides an observation's parts: n agents, enemies, shields of each side (0 or 1), unit type bits, A actions."""

    n: int
    enemies: int
    ally_shield: int
    enemy_shield: int
    types: int
    actions: int


def parts(layout, last_action):
    """Return the widths of the package's own order: moves, enemies, allies, own.

    last_action: whether the package runs with obs_last_action, which ends each ally with a one-hot of A.
    """
    enemy = PLACE + 1 + layout.enemy_shield + layout.types
    own = 1 + layout.ally_shield + layout.types
    ally = PLACE + own + layout.actions * bool(last_action)
    return MOVES, layout.enemies * enemy, (layout.n - 1) * ally, own


def width(layout):
    """Return the width of MADT's observation: own grows by its place and its last action, and the agent's id follows."""
    return sum(parts(layout, True)) + PLACE + layout.actions + layout.n


def rearrange(obs, last, layout):
    """MADT's order: allies, enemies, moves, own = [1, 0, 0, 0, health, (shield), types, last action], one-hot id.

    obs   f32 [..., n, sum(parts(layout, True))]  the package's own, with obs_last_action
    last  f32 [..., n, A]  one-hot of each agent's own last action, zeros at a battle's beginning
    Returns f32 [..., n, width(layout)]; a dead agent (own health 0) is all zeros but its id.
    """
    moves, enemies, allies, own = np.split(obs, np.cumsum(parts(layout, True))[:-1], axis=-1)
    alive = own[..., :1] > 0
    place = np.zeros_like(obs[..., :PLACE])
    place[..., 0] = 1
    itself = np.where(alive, np.concatenate([place, own, last], -1), 0)
    agent = np.broadcast_to(np.eye(layout.n, dtype=obs.dtype), (*obs.shape[:-1], layout.n))
    return np.concatenate([allies, enemies, moves, itself, agent], -1).astype(np.float32)

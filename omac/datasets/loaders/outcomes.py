"""How a battle of StarCraft II ended that others recorded: two signs of a win, read from its rewards and its last state."""

from typing import NamedTuple

import numpy as np

from omac.data.validation import SHIELDS, DataError

SCALE = 20  # SMAC scales what a battle can pay at most to this: enemies' health and shields, deaths, the win
DEATH, VICTORY = 10, 200  # SMAC's reward_death_value and reward_win, before the scaling
SLACK = 1e-3  # of sums of float32
PHYSICAL = 4  # no step pays a bonus as large as this, a fifth of the scale, by damage alone
NOTHING = 0.05  # share of battles that may return 0: idle units shoot at what comes near
RARE = 0.01  # share of battles that may be odd; more, and the file means something else
MEDIVACS = {"MMM": 160, "MMM2": 160}  # here medivacs need not fall: what one, with its death, would have paid
NO_ATTACKS = 6  # no-op, stop and four moves come before the attacks, one for each enemy
ENEMIES = {  # enemies, and the sum of their health and shields
    "3m": (3, 135),
    "8m": (8, 360),
    "25m": (25, 1125),
    "5m_vs_6m": (6, 270),
    "8m_vs_9m": (9, 405),
    "10m_vs_11m": (11, 495),
    "27m_vs_30m": (30, 1350),
    "MMM": (10, 715),
    "MMM2": (12, 885),
    "2s3z": (5, 770),
    "3s5z": (8, 1230),
    "3s5z_vs_3s6z": (9, 1380),
    "3s_vs_3z": (3, 450),
    "3s_vs_4z": (4, 600),
    "3s_vs_5z": (5, 750),
    "1c3s5z": (9, 1580),
    "2m_vs_1z": (1, 150),
    "corridor": (24, 840),
    "6h_vs_8z": (8, 1200),
    "2s_vs_1sc": (1, 300),
    "so_many_baneling": (32, 960),
    "bane_vs_bane": (24, 820),
    "2c_vs_64zg": (64, 2240),
}
MARINES = ("3m", "8m", "25m", "5m_vs_6m", "8m_vs_9m", "10m_vs_11m", "27m_vs_30m")  # whose health never grows back
LEAST = SCALE * (1 - SLACK)  # returned by a battle whose enemies have all fallen, and that was won


class Pay(NamedTuple):
    """What the rewards of N battles say, bool [N] each.

    won: the last reward holds the win's bonus, and the return is a win's. early: the bonus is paid before the last step.
    short: the last reward is too large for damage alone, and yet the return is no win's. odd: short; or the return is a win's,
    too large for damage alone or with an early bonus, and yet the last reward does not hold the bonus.
    """

    won: np.ndarray
    odd: np.ndarray
    early: np.ndarray
    short: np.ndarray


def bonus(map_name):
    """Say what SMAC pays for a win of a map on its scale of 20, and the least return of a won battle; None where not known."""
    if map_name not in ENEMIES:
        return None
    enemies, health = ENEMIES[map_name]
    most = enemies * DEATH + health + VICTORY
    return VICTORY * SCALE / most, LEAST - MEDIVACS.get(map_name, 0) * SCALE / most


def pay(map_name, reward, start):
    """Read the rewards f64 [T] of battles that begin at start int [N + 1]; a Pay, or None where the bonus is not known."""
    if bonus(map_name) is None:
        return None
    (paid, least), ends = bonus(map_name), start[1:] - 1
    last, returns = reward[ends], np.add.reduceat(reward, start[:-1])
    whole = returns >= least
    before = reward.copy()
    before[ends] = -np.inf
    early = (np.maximum.reduceat(before, start[:-1]) >= paid) & (last < paid) & (returns <= SCALE * SHIELDS)
    if paid < PHYSICAL:  # a step can pay as much by damage
        early &= whole
    odd = whole & (last < paid) & (last > 0) & (early | (map_name in MARINES))
    short = ~whole & (last >= PHYSICAL) & (paid >= PHYSICAL)
    return Pay(whole & (last >= paid), odd | short, early, short)


def check_scale(name, returns, paid):
    """Raise DataError where the returns f64 [N] of a whole file cannot be SMAC's, or wins are paid before the last step."""
    if len(returns) > 2 and np.abs(returns).max() <= SHIELDS:  # on a scale of 1
        raise DataError(
            name,
            "reward",
            f"no return of {len(returns)} is beyond {np.abs(returns).max():.3g}, SMAC's reach {SCALE}",
            "another reward scale, SMAC's sparse rewards, or rewards that were never written: a win must return 20",
        )
    if (returns == 0).sum() > max(1, NOTHING * len(returns)):
        raise DataError(
            name,
            "reward",
            f"{(returns == 0).sum()} of {len(returns)} battles return 0",
            "rewards that were not written to their end",
        )
    if paid is not None and paid.short.sum() > max(1, RARE * len(returns)):
        raise DataError(
            name,
            "reward",
            f"{paid.short.sum()} of {len(returns)} battles end with a reward too large for damage, and return less than a "
            f"win's {SCALE}; returns reach {returns.max():.3g}",
            "another reward scale, a price on allies' deaths, or units that were counted twice",
        )
    if paid is not None and paid.early.sum() > max(1, RARE * len(returns), paid.won.sum()):
        raise DataError(
            name,
            "reward",
            f"the bonus of a win is paid before the last step in {paid.early.sum()} of {len(returns)} battles",
            "ends that are out of step with the rewards",
        )


def layouts(width, agents, actions):
    """Say how SMAC's own state of a width can be read: a set of (columns of an ally, of an enemy).

    A state is allies (health, cooldown, x, y, shield if any, type bits), enemies (health, x, y, shield if any, type bits),
    and all last actions, one-hot. Which of them a map has follows from the width.
    """
    enemies, units = actions - NO_ATTACKS, width - agents * actions
    sizes = {(4 + a + bits, 3 + e + bits) for bits in (0, 2, 3) for a in (0, 1) for e in (0, 1)}
    return {x for x in sizes if enemies > 0 and agents * x[0] + enemies * x[1] == units}


def fallen(map_name, state, filled, agents, actions):
    """Say whether the last states show a win: (readable, won), bool [N] each.

    Args:
        map_name: of SMAC, or any other.
        state: f32 [N, T, S], padded.
        filled: bool [N, T], the states that are of the battle, one after another from the first.
        agents, actions: of the map.
    Returns:
        readable: the columns are healths: from 0 to 1, and 1 in the first state, in the one way that the state can be read.
        won: every enemy has fallen in the last state, and one ally has not. Medivacs do not count.
    """
    found = layouts(state.shape[-1], agents, actions)
    if len(found) != 1:
        return np.zeros((2, len(state)), bool)
    ((ally, enemy),) = found
    unit = [state[..., : agents * ally].reshape(*state.shape[:2], agents, ally)]
    unit += [state[..., agents * ally :][..., : (actions - NO_ATTACKS) * enemy].reshape(*state.shape[:2], -1, enemy)]
    last, e = filled.sum(1) - 1, np.arange(len(state))
    readable, stand = np.ones(len(state), bool), []
    for x in unit:
        health = np.where(filled[..., None], x[..., 0], 0)
        readable &= ((health >= 0) & (health <= 1 + SLACK)).all((1, 2)) & (health[:, 0] >= 1 - SLACK).all(1)
        counts = x[e, last, :, -1] == 0 if map_name in MEDIVACS else True  # the last bit is a medivac's
        stand.append(((health[e, last] > 0) & counts).any(1))
    return readable, stand[0] & ~stand[1]


def told(map_name, states, unknown):
    """Say how wins were told, in words: by rewards, by `states` too, and of how many battles it is unknown."""
    known = bonus(map_name)
    signs = [f"the last reward holds the win's bonus of {known[0]:.2f}"] if known else []
    signs += ["every enemy has fallen in the last state"] if states else []
    said = f"Won: {' and '.join(signs)}." if signs else "Neither rewards nor states show wins."
    if unknown:
        said += f" Whether {unknown} battle{' was' if unknown == 1 else 's were'} won is unknown: they are not counted as won"
    return said

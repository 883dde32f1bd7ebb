"""Battle: E battles fought in lock-step, NumPy in and out. The one interface to every simulator."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True)
class Spec:
    """The sizes that a data set and a simulator must agree on.

    n agents, obs O and state S widths, actions A, horizon: longest battle in steps.
    """

    env: str
    map: str
    n: int
    obs: int
    state: int
    actions: int
    horizon: int


class View(NamedTuple):
    """What can be seen of E battles: obs f32 [E,n,O], state f32 [E,S], avail bool [E,n,A]."""

    obs: np.ndarray
    state: np.ndarray
    avail: np.ndarray


class Step(NamedTuple):
    """One lock-step: the view after it, reward f32 [E] (a battle's rewards sum to at most 20), and bool [E] flags.

    terminated: the battle was decided; truncated: the time limit ended it undecided; won: decided in our favour.
    """

    view: View
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    won: np.ndarray


class Battle(Protocol):
    """E battles side by side.

    No battle restarts by itself: once over, its view, terminated, truncated and won stay as they were and its
    reward is 0, whatever action it is given, until `reset` names it. The same seeds give the same battles.
    """

    spec: Spec
    version: str  # of the simulator, recorded with the results

    def reset(self, seeds, where=None) -> View:
        """Begin battles with seeds, uint32 [E]; `where` bool [E] restarts those battles alone.

        Raises ValueError for seeds of another shape, and for a first reset that leaves battles out.
        """

    def step(self, action) -> Step:
        """Play action int [E,n] in every battle.

        Raises ValueError for an action that is not available, RuntimeError before the first reset.
        """

    def close(self):
        """End whatever runs outside this process; nothing can be fought afterwards."""


def check_actions(action, avail, over):
    """Raise ValueError unless every agent of every battle still on plays an available action.

    action int [E,n], avail bool [E,n,A], over bool [E].
    """
    action = np.asarray(action)
    if action.shape != avail.shape[:2] or not np.issubdtype(action.dtype, np.integer):
        raise ValueError(
            f"actions are {action.dtype} {action.shape}; expected integers of shape {avail.shape[:2]}: one per battle and agent"
        )
    inside = (action >= 0) & (action < avail.shape[2])
    allowed = np.take_along_axis(avail, np.where(inside, action, 0)[..., None], axis=2)[..., 0] & inside
    bad = np.argwhere(~allowed & ~over[:, None])
    if len(bad):
        e, i = bad[0]
        raise ValueError(
            f"battle {e}, agent {i}: action {action[e, i]} is not available; available are {np.flatnonzero(avail[e, i]).tolist()}: "
            "mask the policy's logits with `avail`"
        )

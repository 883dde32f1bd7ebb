"""Battle: E battles fought in lock-step, NumPy in and out. The one interface to every simulator."""

from dataclasses import dataclass, replace
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


def fits(data, simulator):
    """Whether policies trained on data of one Spec can fight in a simulator of another: all sizes agree.

    The state width is left out for smac-madt alone: its policies act on observations, which a stock StarCraft II can
    give, while the state of its data, needed only in training, came from another build of the package.
    """
    return replace(data, state=simulator.state) == simulator if data.env == "smac-madt" else data == simulator


def missing(name):
    """Why no battle of "<env>:<map>" can be fought on this machine, in one line; "" when it can."""
    if not name.startswith("smac"):
        return ""
    from omac.envs.smac import require_smac

    try:
        require_smac()
    except RuntimeError as e:
        return str(e)
    return ""


def make(name, battles=32):
    """A Battle from "<env>:<map>", for instance "smax:6h_vs_8z" or "toy:line", with `battles` side by side.

    Raises ValueError for a name that is not known. Each simulator is imported only when it is asked for.
    """
    env, _, map_name = name.partition(":")
    if env == "smax":
        from omac.envs.smax import Smax as cls
    elif env == "toy":
        from omac.envs.toy import Toy as cls
    elif env == "smac":
        from omac.envs.smac import Smac as cls
    elif env == "smac-madt":
        from omac.envs.smac import smac_madt as cls
    else:
        raise ValueError(
            f"unknown environment {name!r}: write smax:<map> (embedded), toy:line (for tests), smac:<map> (StarCraft II) or "
            "smac-madt:<map> (the same, seen as MADT's data see it)"
        )
    return cls(map_name, battles)

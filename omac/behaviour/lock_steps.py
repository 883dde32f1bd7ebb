"""What MAPPO learns from: battles fought in lock-step by the policy that learns, and the loop that fights them in any simulator.

Of SMAX omac/behaviour/compiled.py fights the same battles in compiled calls.
"""

from typing import NamedTuple

import numpy as np
import torch

from omac.evaluation import BatchedPolicy, play
from omac.nn.policy import MASKED


class Fought(NamedTuple):
    """Whole battles, E side by side, over T lock-steps, of which R rows [T,E] are `live`: somebody fights there.

    Attributes:
        live: bool [T,E].
        reward: f32 [T,E].
        terminated, truncated, won: bool [T,E], whether the step ended the battle, and how.
        obs, state, avail, action, log_pi: f32 [R,n,O], f32 [R,S], bool [R,n,A], int [R,n], f32 [R,n] of the live rows, in the
            order of np.nonzero(live); log_pi is that of the actions taken.
        final: f32 [L,S], the states in which live and truncated rows ended.
    """

    live: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    won: np.ndarray
    obs: np.ndarray
    state: np.ndarray
    avail: np.ndarray
    action: np.ndarray
    log_pi: np.ndarray
    final: np.ndarray


def masked_log_softmax(logits, avail):
    """Return log pi(.|o) over available actions: logits [...,A], avail bool [...,A]."""
    return torch.log_softmax(logits.masked_fill(~avail, MASKED), -1)


class SteppedBattles:
    """Battles of any simulator, a call for every lock-step."""

    def __init__(self, battle):
        self.battle = battle

    def fight(self, actor, seeds):
        """Fight a battle for each of `seeds`, uint32 [N], N a multiple of the slots. Returns Fought."""
        battle = self.battle
        act = BatchedPolicy(actor, 1, battle.spec.horizon, sample=True)
        steps = list(play(battle, act, seeds.reshape(battle.battles, -1)))
        live = np.stack([s.live for s in steps])
        ends = {k: np.stack([getattr(s.after, k) for s in steps]) for k in ("reward", "terminated", "truncated", "won")}
        seen = {k: np.concatenate([getattr(s.view, k)[s.live] for s in steps]) for k in ("obs", "state", "avail")}
        action = np.concatenate([s.action[s.live] for s in steps])
        with torch.no_grad():
            log_p = masked_log_softmax(actor(torch.from_numpy(seen["obs"])[None])[0], torch.from_numpy(seen["avail"]))
        log_pi = np.take_along_axis(log_p.numpy(), action[..., None], -1)[..., 0]
        final = np.concatenate([s.after.view.state[s.live & s.after.truncated] for s in steps])
        return Fought(live=live, **ends, **seen, action=action, log_pi=log_pi, final=final)

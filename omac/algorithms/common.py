"""What algorithms share: masks, and the baselines' Q_i on the linear mixer of A.2 with its target. Not an algorithm.

Q_tot(o,a) = sum_i w_i(o) Q_i(o_i,a_i) + b(o),  w_i >= 0: Eq. (2) with w_q := w_v and b := V_share
"""

import copy

import torch
from torch import nn

from omac.nn import losses
from omac.nn.factorization import Factorization
from omac.nn.networks import AgentMLP
from omac.nn.policy import MASKED, take
from omac.shapes import Bool, Float, Int, Tensor

TARGETS = [("q", "q_bar"), ("mix", "mix_bar")]


def critic(spec, hyper, gens):
    """Q_i, the linear mixer and their target copies, for the seeds of `gens`."""
    nets = nn.Module()
    nets.q = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    nets.mix = Factorization(gens, spec.n, spec.state, spec.actions, hyper.cca_hidden, "tied")
    for online, target in TARGETS:
        setattr(nets, target, copy.deepcopy(getattr(nets, online)).requires_grad_(False))
    return nets


def counted(x: Float[Tensor, "K B n A"], avail: Bool[Tensor, "K B n A"], hyper) -> Float[Tensor, "K B n A"]:
    """x [K,B,n,A] with -1e9 at actions that are not available, unless `mask_actions` is off (register 16)."""
    return x.masked_fill(~avail, MASKED) if hyper.mask_actions else x


def alive(batch, hyper) -> Float[Tensor, "K B n"] | None:
    """The agents that count in a loss over agents [K,B,n], or None for all (register 17)."""
    return batch.alive if hyper.mask_dead else None


def each_policy(mask: Float[Tensor, "K B n"] | None) -> Float[Tensor, "K 1 B n"] | None:
    """A mask [K,B,n], or None, for P policies of each seed: [K,1,B,n]."""
    return None if mask is None else mask[:, None]


def mixed(mix, s: Float[Tensor, "K B S"], q: Float[Tensor, "K B n"]) -> Float[Tensor, "K B"]:
    """A.2: Q_tot [K,B] of local values q [K,B,n]: the first line of Eq. (2) with Q_i in place of V_i."""
    w, b, _ = mix.value(s)
    return losses.v_tot(w, q, b)


@torch.no_grad()
def next_q_tot(nets, batch, a_next: Int[Tensor, "K B n"], hyper) -> Float[Tensor, "K B"]:
    """Q_tot(o', a') [K,B] of a_next int [K,B,n], from the target copies or, by `bootstrap`, the online networks (register 8)."""
    q, mix = (nets.q_bar, nets.mix_bar) if hyper.bootstrap == "target" else (nets.q, nets.mix)
    return mixed(mix, batch.s_next, take(q(batch.o_next), a_next))


@torch.no_grad()
def greedy_target(nets, batch, score: Float[Tensor, "K B n A"], hyper) -> Float[Tensor, "K B"]:
    """r + gamma (1 - d) Q_tot(o', a') [K,B], a'_i the argmax of `score` [K,B,n,A]: the online Q_i over what may be chosen."""
    return losses.td_target(batch.r, batch.done, next_q_tot(nets, batch, score.argmax(-1), hyper), hyper.gamma)


@torch.no_grad()
def value_diagnostics(nets, batch, target, mask=None):
    """Q_tot [K,B]; [K] each: the TD error |target - Q_tot|, over the rows of `mask` [K,B], and the scale of w_i, under both
    its names in Eq. (2).
    """
    q_tot = mixed(nets.mix, batch.s, take(nets.q(batch.o), batch.a))
    w = losses.mean(nets.mix.value(batch.s).w_v)
    error = (target - q_tot).abs()[..., None]
    return {
        "q_tot": q_tot,
        "td_error": losses.mean(error, mask if mask is None else mask[..., None]),
        "w_v": w,
        "w_q": w,
    }

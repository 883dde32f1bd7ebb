"""VDN, an algorithm to add: Q-learning of the sum Q_tot = sum_i Q_i (Sunehag et al. 2017), with target copies.

    L = E[(r + gamma (1 - d) sum_i max_a Qbar_i(o'_i, a) - sum_i Q_i(o_i, a_i))^2]

It acts greedily in Q_i and has no policy. Nothing keeps the maximum to actions that the data hold, which is what
offline algorithms are about, so its values may be too high. marwil.py has a policy, and says how to register a module.
"""

import copy

import torch
from torch import nn

from omac.algorithms.common import counted
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import policy_diagnostics, take

GROUPS = {"q": ["q"]}  # networks whose gradients are clipped together
TARGETS = [("q", "q_bar")]  # q_bar moves towards q by `polyak` after every step
READS = ("hidden", "gamma", "mask_actions")  # settings: a variant that changes others alone is refused


def build(spec, hyper, gens):
    """Make the networks of K = len(gens) seeds from the sizes of the data: Q_i and its target copy."""
    nets = nn.Module()
    nets.q = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    nets.q_bar = copy.deepcopy(nets.q).requires_grad_(False)
    return nets


def q_tot(nets, batch):
    """Add up the Q_i of the data's actions. Returns [K,B]."""
    return take(nets.q(batch.o), batch.a).sum(-1)


@torch.no_grad()
def target(nets, batch, hyper):
    """Compute r + gamma (1 - d) sum_i max_a Qbar_i(o'_i, a), over the actions available at o'. Returns [K,B]."""
    best = counted(nets.q_bar(batch.o_next), batch.avail_next, hyper).max(-1).values
    return losses.td_target(batch.r, batch.done, best.sum(-1), hyper.gamma)


def value_loss(nets, batch, hyper):
    """Compute the TD error. Returns ({name: loss [K]}, {}: there is no policy to read of the values)."""
    return {"L_Q": losses.td_loss(q_tot(nets, batch), target(nets, batch, hyper))}, {}


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """Measure what snapshots log of the values. Returns {name: [K] or [K,B]}.

    q_tot [K,B] is compared with the returns-to-go.
    """
    values = q_tot(nets, batch)
    return {"q_tot": values, "td_error": (target(nets, batch, hyper) - values).abs().mean(1)}


@torch.no_grad()
def diagnose_policy(nets, batch, signal, hypers):
    """Measure what snapshots log of what acts, here the values: entropy and log-likelihood of softmax(Q_i), [K,1] each."""
    return policy_diagnostics(nets.q, batch, hypers[0])


def logits(nets):
    """Name the network that acts, greedily over available actions. Its parameters are what snapshots keep."""
    return nets.q

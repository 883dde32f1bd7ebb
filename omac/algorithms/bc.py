"""Behaviour cloning: Eq. (8) with beta = 0. Not in the paper; without it no row of its tables can be read."""

import torch
from torch import nn

from omac.algorithms.common import alive
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_pi, policy_diagnostics

GROUPS = {"pi": ["pi"]}
TARGETS = []
READS = ("hidden", "mask_actions", "mask_dead")


def build(spec, hyper, gens):
    """The policy network alone."""
    nets = nn.Module()
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    return nets


def value_loss(nets, batch, hyper):
    """No values: no loss, and an advantage of 0 [K,B,n]."""
    return {}, torch.zeros(batch.a.shape, device=batch.a.device)


def policy_loss(nets, batch, adv, hyper):
    """Eq. (8) with the weight 1 of beta = 0, whatever the advantage. Returns [K]."""
    return losses.awr_loss(1.0, log_pi(nets.pi, batch, hyper), alive(batch, hyper))


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged beside the results, [K]."""
    return policy_diagnostics(nets.pi, batch, hyper)


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

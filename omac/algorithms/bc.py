"""Behaviour cloning: Eq. (8) with beta = 0. Not in the paper; without it no row of its tables can be read."""

import torch
from torch import nn

from omac.algorithms.common import alive, each_policy
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_pi, policy_diagnostics

GROUPS = {"pi": ["pi"]}
TARGETS = []
READS = ("hidden", "mask_actions", "mask_dead", "top_share")


def build(spec, hyper, gens):
    """The policy network alone."""
    nets = nn.Module()
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    return nets


def value_loss(nets, batch, hyper):
    """No values: no loss, and nothing for the policy to read."""
    return {}, {}


def policy_loss(nets, batch, signal, hypers):
    """Eq. (8) with the weight 1 of beta = 0. Returns [K,P]."""
    return losses.awr_loss(1.0, log_pi(nets.pi, batch, hypers[0]), each_policy(alive(batch, hypers[0])))


@torch.no_grad()
def diagnose_policy(nets, batch, signal, hypers):
    """What is logged beside the results, [K,P]."""
    return policy_diagnostics(nets.pi, batch, hypers[0])


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

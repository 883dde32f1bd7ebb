"""Behaviour cloning: Eq. (8) with beta = 0. Not in the paper; without it no row of its tables can be read."""

from dataclasses import replace

import torch
from torch import nn

from omac.algorithms import omac
from omac.networks import AgentMLP
from omac.policy import policy_diagnostics

GROUPS = {"pi": ["pi"]}
TARGETS = []


def build(spec, hyper, gens):
    """The policy network alone."""
    nets = nn.Module()
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    return nets


def value_loss(nets, batch, hyper):
    """No values: no loss, and an advantage of 0 [K,B,n]."""
    return {}, torch.zeros(batch.a.shape, device=batch.a.device)


def policy_loss(nets, batch, adv, hyper):
    """Eq. (8) with beta = 0. Returns [K]."""
    return omac.policy_loss(nets, batch, adv, replace(hyper, beta=0.0))


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged beside the results, [K]."""
    return policy_diagnostics(nets.pi, batch, hyper)


logits = omac.logits

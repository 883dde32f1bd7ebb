"""MARWIL, an algorithm to add: cloning weighted by how far the return that followed exceeds its learnt mean V_i.

V_i is a mean of whole returns, so there is no bootstrap and no target copy (Wang et al. 2018, without the moving scale
of the advantage). vdn.py is an example with both. In a script or a notebook, register the module and train it by name:

    from omac import algorithms
    from omac.training.trainer import train
    import marwil

    algorithms.REGISTRY["marwil"] = marwil
    trained = train(data, "marwil", hyper, seeds=[0, 1, 2])

To keep it: copy this file to omac/algorithms/ and add it to REGISTRY there. tests/test_seventh_algorithm.py then says
what is missing.
"""

import torch
from torch import nn

from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_pi, policy_diagnostics

GROUPS = {"v": ["v"], "pi": ["pi"]}  # networks whose gradients are clipped together
TARGETS = []  # pairs of a network and its target copy
READS = ("hidden", "beta", "max_weight", "mask_actions")  # settings: a variant that changes others alone is refused


def build(spec, hyper, gens):
    """Make the networks of K = len(gens) seeds from the sizes of the data: V_i and pi_i."""
    nets = nn.Module()
    nets.v = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, 1)
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    return nets


def value_loss(nets, batch, hyper):
    """Fit V_i to the return that followed. Returns ({name: loss [K]}, the advantage [K,B,n], for policy_loss)."""
    adv = batch.ret[..., None] - nets.v(batch.o)[..., 0]
    return {"L_V": losses.mean(adv.square())}, adv.detach()


def policy_loss(nets, batch, adv, hyper):
    """Clone the data's actions, weighted by exp(beta A) as in Eq. (8). Returns [K]. Absent where the values act."""
    weight = losses.awr_weight(adv, hyper.beta, hyper.max_weight)
    return losses.awr_loss(weight, log_pi(nets.pi, batch, hyper))


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """Measure what every snapshot logs beside the scores. Returns {name: [K] or [K,B]}."""
    return policy_diagnostics(nets.pi, batch, hyper)


def logits(nets):
    """Name the network that acts, greedily over available actions. Its parameters are what snapshots keep."""
    return nets.pi

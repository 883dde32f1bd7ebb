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
from omac.nn.policy import log_pi, policy_diagnostics, weight_diagnostics

GROUPS = {"v": ["v"], "pi": ["pi"]}  # networks whose gradients are clipped together
TARGETS = []  # pairs of a network and its target copy
# settings: a variant that changes others alone is refused. schedule: values first, then the policy, or side by side
READS = ("hidden", "beta", "max_weight", "mask_actions", "schedule")


def build(spec, hyper, gens):
    """Make the networks of K = len(gens) seeds from the sizes of the data: V_i and pi_i."""
    nets = nn.Module()
    nets.v = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, 1)
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    return nets


def value_loss(nets, batch, hyper):
    """Fit V_i to the return that followed. Returns ({name: loss [K]}, what policies read of the values, detached)."""
    adv = batch.ret[..., None] - nets.v(batch.o)[..., 0]
    return {"L_V": losses.mean(adv.square())}, {"advantage": adv.detach()}


@torch.no_grad()
def signal(nets, batch, hyper):
    """Compute what policies read of the values by itself, once for all data when they are finished. {"advantage": [K,B,n]}."""
    return value_loss(nets, batch, hyper)[1]


def weights(signal, hypers):
    """Compute exp(beta A) of each of P policies, [K,P,B,n], which share the values and differ in beta."""
    adv = signal["advantage"][:, None]
    beta = adv.new_tensor([h.beta for h in hypers]).view(-1, 1, 1)
    return losses.awr_weight(adv, beta, hypers[0].max_weight)


def policy_loss(nets, batch, signal, hypers):
    """Clone the data's actions, weighted by exp(beta A) as in Eq. (8). Returns [K,P]. Absent where the values act."""
    return losses.awr_loss(weights(signal, hypers), log_pi(nets.pi, batch, hypers[0]))


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """Measure what snapshots log of the values. Returns {name: [K] or [K,B]}. Absent where there are none."""
    return {"adv_std": signal(nets, batch, hyper)["advantage"].flatten(1).std(1)}


@torch.no_grad()
def diagnose_policy(nets, batch, signal, hypers):
    """Measure what snapshots log of what acts, beside its scores. Returns {name: [K,P]}, [K,1] where the values act."""
    return {**weight_diagnostics(weights(signal, hypers)), **policy_diagnostics(nets.pi, batch, hypers[0])}


def logits(nets):
    """Name the network that acts, greedily over available actions. Its parameters are what snapshots keep."""
    return nets.pi

"""Discrete policies: log-probabilities over available actions, of P policies of each seed side by side.

The P policies of a seed are one more axis of one network, whose parameters are [K*P,...]: policy p of seed k is k*P + p.
All read the same batch, and begin with the same parameters.
"""

import torch
from torch.nn import functional as F

from omac.nn.rows import for_each
from omac.shapes import Float, Int, Shaped, Tensor

MASKED = -1e9  # logit of an action that is not available


def take(x: Shaped[Tensor, "*rows A"], a: Int[Tensor, "*rows"]) -> Shaped[Tensor, "*rows"]:
    """x [K,B,n,A] at actions a int [K,B,n] -> [K,B,n]."""
    return x.gather(-1, a[..., None])[..., 0]


def take_each(x: Float[Tensor, "K P B n A"], a: Int[Tensor, "K B n"]) -> Float[Tensor, "K P B n"]:
    """x [K,P,B,n,A] at the actions a int [K,B,n] that all P share -> [K,P,B,n]."""
    return take(x, a[:, None].expand(x.shape[:-1]))


@torch.no_grad()
def repeat_parameters(net, times):
    """Make `times` equal networks of each of K: parameters [K,...] become [K*times,...]. Returns the network."""
    for p in net.parameters():
        p.data = p.data.repeat_interleave(times, 0)
    return net


def policy_logits(pi, batch) -> Float[Tensor, "K P B n A"]:
    """Logits [K,P,B,n,A] of the network `pi` of K*P policies, of all actions."""
    seeds = len(batch.a)
    policies = len(next(pi.parameters())) // seeds
    return pi(for_each(batch.o, policies)).unflatten(0, (seeds, policies))


def log_probs(pi, batch, hyper) -> Float[Tensor, "K P B n A"]:
    """log pi_i(.|o_i) [K,P,B,n,A] of the network `pi`; with `mask_actions` over available actions alone (register 16)."""
    x = policy_logits(pi, batch)
    return F.log_softmax(x.masked_fill(~batch.avail[:, None], MASKED) if hyper.mask_actions else x, -1)


def log_pi(pi, batch, hyper) -> Float[Tensor, "K P B n"]:
    """log pi_i(a_i|o_i) of the data's actions, [K,P,B,n]."""
    return take_each(log_probs(pi, batch, hyper), batch.a)


@torch.no_grad()
def policy_diagnostics(pi, batch, hyper) -> dict[str, Float[Tensor, "K P"]]:
    """[K,P] each: entropy (nats), log-likelihood of the data's actions, share of agent-steps where the greedy action is the data's."""
    x = policy_logits(pi, batch)
    available = x.masked_fill(~batch.avail[:, None], MASKED)
    log_p = F.log_softmax(available if hyper.mask_actions else x, -1)
    return {
        "entropy": -(log_p.exp() * log_p).sum(-1).mean((-2, -1)),
        "log_likelihood": take_each(log_p, batch.a).mean((-2, -1)),
        "agreement": (available.argmax(-1) == batch.a[:, None]).float().mean((-2, -1)),
    }


@torch.no_grad()
def weight_diagnostics(weight: Float[Tensor, "K P B n"]) -> dict[str, Float[Tensor, "K P"]]:
    """Of the weights of cloning [K,P,B,n], [K,P] each: mean, standard deviation, and the effective sample share
    (sum w)^2 / (N sum w^2): 1 where all weigh the same, 1/N where one sample weighs alone.
    """
    w = weight.flatten(2)
    return {
        "weight_mean": w.mean(2),
        "weight_std": w.std(2),
        "weight_share": w.mean(2).square() / w.square().mean(2).clamp(min=1e-30),
    }

"""Discrete policies on the seed axis: log-probabilities over available actions."""

import torch
from torch.nn import functional as F

MASKED = -1e9  # logit of an action that is not available


def take(x, a):
    """x [K,B,n,A] at actions a int [K,B,n] -> [K,B,n]."""
    return x.gather(-1, a[..., None])[..., 0]


def log_probs(pi, batch, hyper):
    """log pi_i(.|o_i) [K,B,n,A] of the network `pi`; with `mask_actions` over available actions alone (register 16)."""
    x = pi(batch.o)
    return F.log_softmax(x.masked_fill(~batch.avail, MASKED) if hyper.mask_actions else x, -1)


def log_pi(pi, batch, hyper):
    """log pi_i(a_i|o_i) of the data's actions, [K,B,n]."""
    return take(log_probs(pi, batch, hyper), batch.a)


@torch.no_grad()
def policy_diagnostics(pi, batch, hyper):
    """[K] each: entropy (nats), log-likelihood of the data's actions, share of agent-steps where the greedy action is the data's."""
    log_p = log_probs(pi, batch, hyper)
    greedy = pi(batch.o).masked_fill(~batch.avail, MASKED).argmax(-1)
    return {
        "entropy": -(log_p.exp() * log_p).sum(-1).mean((1, 2)),
        "log_likelihood": take(log_p, batch.a).mean((1, 2)),
        "agreement": (greedy == batch.a).float().mean((1, 2)),
    }

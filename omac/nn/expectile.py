"""The exact expectile of a sample, which Eq. (5) converges to."""

import torch


def expectile(x, tau, p=None):
    """Return the tau-expectile of x [...,N], weighed by p [N] (default evenly): the m with tau E[(x-m)+] = (1-tau) E[(m-x)+], by bisection."""
    p = torch.ones_like(x) if p is None else p
    low, high = x.amin(-1), x.amax(-1)
    for _ in range(60):
        m = (low + high) / 2
        u = x - m[..., None]
        below = tau * (p * u.clamp(min=0)).sum(-1) > (1 - tau) * (p * (-u).clamp(min=0)).sum(-1)
        low, high = torch.where(below, m, low), torch.where(below, high, m)
    return m

"""Eq. (1) measured: does the tuple of local greedy actions maximise Q_tot? A lower bound on how often it does not."""

import torch

from omac.nn.policy import MASKED
from omac.shapes import Bool, Float, Tensor


def single_deviations(
    q: Float[Tensor, "K B n A"], avail: Bool[Tensor, "K B n A"], q_tot
) -> dict[str, Float[Tensor, " K"]]:
    """Share of states where one agent alone, leaving the local greedy tuple a*, raises Q_tot; and by how much.

    q [K,B,n,A] local values, avail bool [K,B,n,A], q_tot: function of a joint action int [K,B,n] -> [K,B], in units of
    return. Returns {"igm_violation", "igm_excess"} [K] each: the share of states with max Q_tot(o, a*, one agent changed) >
    Q_tot(o, a*), and the mean of that excess, 0 where there is none. Every such state breaks Eq. (1), but a better joint
    action may need two agents to change: both numbers are lower bounds, from n (A - 1) evaluations instead of A^n.
    """
    best = q.masked_fill(~avail, MASKED).argmax(-1)
    top, excess = q_tot(best), torch.zeros(best.shape[:2], dtype=q.dtype, device=q.device)
    for i in range(q.shape[2]):
        for a in range(q.shape[3]):
            other = best.clone()
            other[..., i] = a
            gain = (q_tot(other) - top).where(avail[..., i, a], 0)
            excess = torch.maximum(excess, gain)
    return {"igm_violation": (excess > 0).float().mean(1), "igm_excess": excess.mean(1)}

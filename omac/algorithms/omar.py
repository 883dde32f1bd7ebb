"""OMAR: CQL-MA's critic, and an actor that is pulled towards the best action that a zeroth-order search finds.

    L_pi = -(1 - c) E[sum_a pi_i(a) Q_i(a)] - c E[log pi_i(a*)],  c = search_weight

a* is the argmax of Q_i over available actions, or what a cross-entropy method finds (`search: cem`). The values do not
depend on the policy: both schedules.
"""

import torch

from omac.algorithms import common, cql
from omac.algorithms.common import TARGETS  # noqa: F401
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_probs, policy_diagnostics, take

GROUPS = {"q": ["q", "mix"], "pi": ["pi"]}
READS = (*cql.READS, "search", "search_weight", "search_samples", "search_rounds")

value_loss = cql.value_loss  # the critic; Q_i [K,B,n,A] without gradient takes the place of the advantage


def build(spec, hyper, gens):
    """Q_i, the linear mixer, their target copies, and pi_i."""
    nets = cql.build(spec, hyper, gens)
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    return nets


def policy_loss(nets, batch, q, hyper):
    """L_pi of Q_i [K,B,n,A] without gradient. Returns [K]."""
    log_p, scores = log_probs(nets.pi, batch, hyper), common.counted(q, batch.avail, hyper)
    if hyper.search == "argmax":
        best = scores.argmax(-1)
    else:
        best = cem(scores, batch.key, hyper.search_samples, hyper.search_rounds)
    return losses.omar_loss(q, log_p.exp(), take(log_p, best), hyper.search_weight, common.alive(batch, hyper))


def cem(q, key, samples, rounds):
    """The best of `rounds` times `samples` actions drawn from a categorical that is refitted to softmax(Q_i) of each draw.

    q [K,B,n,A] in units of return, -1e9 where an action is not available: it is never drawn; key: one whole number per
    seed. The first categorical is uniform. Returns int [K,B,n].
    """
    gens = [torch.Generator().manual_seed(k) for k in key]
    log_p, best = (q > -1e8).to(q.dtype).log(), None
    for _ in range(rounds):
        u = torch.stack([torch.rand((*q.shape[1:], samples), generator=g) for g in gens]).clamp(1e-12).to(q)
        drawn = (log_p[..., None] - (-u.log()).log()).argmax(-2)  # Gumbel-max, [K,B,n,samples]
        if best is not None:
            drawn = torch.cat([drawn, best[..., None]], -1)
        value = q.gather(-1, drawn)
        best = take(drawn, value.argmax(-1))
        log_p = torch.zeros_like(q).scatter_add_(-1, drawn, value.softmax(-1)).log()
    return best


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged beside the results."""
    values = common.value_diagnostics(nets, batch, cql.target(nets, batch, hyper))
    return {**values, **policy_diagnostics(nets.pi, batch, hyper)}


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

"""OMAR: a conservative critic, and an actor that is pulled towards the best action that a zeroth-order search finds.

    L_pi = -(1 - c) E[sum_a pi_i(a) Q_i(a)] - c E[log pi_i(a*)],  c = search_weight

a* is the argmax of Q_i over available actions, or what a cross-entropy method finds (`search: cem`). `critic` says what the
values ask for at o' (register 32). twin, as published: the target policy's greedy action, valued by the smaller of two
critics; values and policy then need one another and are learned side by side. cql: CQL-MA's critic, which asks no policy.
"""

import copy

import torch
from torch import nn

from omac.algorithms import common, cql
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import MASKED, log_probs, policy_diagnostics, take, take_each

GROUPS = {"q": ["q", "mix", "q_twin", "mix_twin"], "pi": ["pi"]}
TARGETS = [*common.TARGETS, ("q_twin", "q_twin_bar"), ("mix_twin", "mix_twin_bar"), ("pi", "pi_bar")]
COUPLED = True  # the values ask the policy
READS = (*cql.READS, "critic", "search", "search_weight", "search_samples", "search_rounds")


def build(spec, hyper, gens):
    """Q_i, the linear mixer and their target copies, twice with `critic: twin`; pi_i and its target copy."""
    nets = common.critic(spec, hyper, gens)
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    twin = hyper.critic == "twin"
    second = common.critic(spec, hyper, gens) if twin else nn.Module()
    for name in ("q", "mix", "q_bar", "mix_bar"):
        setattr(
            nets,
            name.replace("_bar", "") + "_twin" + "_bar" * name.endswith("_bar"),
            getattr(second, name, nn.Identity()),
        )
    nets.pi_bar = copy.deepcopy(nets.pi).requires_grad_(False) if twin else nn.Identity()
    return nets


@torch.no_grad()
def target(nets, batch, hyper):
    """r + gamma (1 - d) min_j Qbar_tot^j(o', a') [K,B], a'_i what the target policy takes; with `critic: cql` CQL-MA's."""
    if hyper.critic == "cql":
        return cql.target(nets, batch, hyper)
    bar = hyper.bootstrap == "target"
    a_next = (nets.pi_bar if bar else nets.pi)(batch.o_next).masked_fill(~batch.avail_next, MASKED).argmax(-1)
    critics = [("q", "mix"), ("q_twin", "mix_twin")]
    pairs = [[getattr(nets, name + "_bar" * bar) for name in critic] for critic in critics]
    q_tot = [common.mixed(mix, batch.s_next, take(q(batch.o_next), a_next)) for q, mix in pairs]
    return losses.td_target(batch.r, batch.done, torch.minimum(*q_tot), hyper.gamma)


def value_loss(nets, batch, hyper):
    """The critic's losses as CQL-MA's, summed over both with `critic: twin`. Returns ({"L_Q": [K], "L_CQL": [K]}, {"q": Q_i
    [K,B,n,A] of the first critic, without gradient}).
    """
    y = target(nets, batch, hyper)
    found, signal = cql.losses_of(nets.q, nets.mix, batch, y, hyper)
    if hyper.critic == "twin":
        second, _ = cql.losses_of(nets.q_twin, nets.mix_twin, batch, y, hyper)
        found = {name: found[name] + second[name] for name in found}
    return found, signal


def policy_loss(nets, batch, signal, hypers):
    """L_pi. Returns [K,1]."""
    (hyper,) = hypers
    log_p, scores = log_probs(nets.pi, batch, hyper), common.counted(signal["q"], batch.avail, hyper)
    if hyper.search == "argmax":
        best = scores.argmax(-1)
    else:
        best = cem(scores, batch.key, hyper.search_samples, hyper.search_rounds)
    mask = common.each_policy(common.alive(batch, hyper))
    return losses.omar_loss(signal["q"][:, None], log_p.exp(), take_each(log_p, best), hyper.search_weight, mask)


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
    """What is logged of the values, those of the first critic."""
    return common.value_diagnostics(nets, batch, target(nets, batch, hyper))


@torch.no_grad()
def diagnose_policy(nets, batch, signal, hypers):
    """What is logged of the policy, [K,1]."""
    return policy_diagnostics(nets.pi, batch, hypers[0])


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

"""OMAC: Algorithm 1. Coupled value factorization, in-sample expectile values, advantage-weighted local policies.

The ablations of 6.4 are settings: `credit` tied (w/o CVF) or independent (w/o CCA), `tau`, and `local_value: max`
(CVF-maxQ), where V_i(o_i) := max over available a of Q_i(o_i,a): no V network and no Eq. (5), and Eq. (6) trains Q_i
through V_i too. The values do not depend on the policy: both schedules.
"""

import copy

import torch
from torch import nn

from omac.algorithms.common import alive, counted
from omac.nn import losses
from omac.nn.factorization import Factorization
from omac.nn.igm import single_deviations
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_pi, policy_diagnostics, take

GROUPS = {"v": ["v"], "q": ["q", "mix"], "pi": ["pi"]}
TARGETS = [("q", "q_bar"), ("v", "v_bar"), ("mix", "mix_bar")]
READS = (
    *("hidden", "cca_hidden", "gamma", "bootstrap", "mask_actions", "mask_dead"),
    *("credit", "local_value", "tau", "advantage", "beta", "max_weight"),
)


def build(spec, hyper, gens):
    """Lines 1-2: V_i, Q_i, pi_i, w_v, w_q, V_share and the target copies, for the seeds of `gens`."""
    nets = nn.Module()
    own = hyper.local_value == "expectile"
    nets.v = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, 1) if own else nn.Identity()  # no V network
    nets.q = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    nets.mix = Factorization(gens, spec.n, spec.state, spec.actions, hyper.cca_hidden, hyper.credit)
    for online, target in TARGETS:
        setattr(nets, target, copy.deepcopy(getattr(nets, online)).requires_grad_(False))
    for unused in ("f_q1", "f_q2"):  # V_tot(o') needs w_v and V_share alone
        if hasattr(nets.mix_bar, unused):
            delattr(nets.mix_bar, unused)
    return nets


def local_value(v_net, q, o, avail, hyper):
    """V_i(o_i) [K,B,n]: the network's or, by `local_value`, the maximum of q [K,B,n,A] over available actions."""
    return v_net(o)[..., 0] if hyper.local_value == "expectile" else counted(q, avail, hyper).max(-1).values


def factorize(nets, batch, hyper):
    """Line 6: V_i, Q_i, w_v, w_q [K,B,n] and V_tot, Q_tot [K,B] of Eq. (2). V_i is detached where Eq. (5) alone trains it."""
    q = nets.q(batch.o)
    v = local_value(nets.v, q, batch.o, batch.avail, hyper)
    fixed = v.detach() if hyper.local_value == "expectile" else v
    w_v, w_q, v_share = nets.mix(batch.s, batch.a)
    v_tot = losses.v_tot(w_v, fixed, v_share)
    q = take(q, batch.a)
    return v, q, w_v, w_q, v_tot, losses.q_tot(v_tot, w_q, q, fixed)


@torch.no_grad()
def target(nets, batch, hyper):
    """Eq. (6): r + gamma (1 - d) V_tot(o') [K,B], V_tot from the target copies or, by `bootstrap`, the online networks."""
    bar = hyper.bootstrap == "target"
    v_net, q_net, mix = (nets.v_bar, nets.q_bar, nets.mix_bar) if bar else (nets.v, nets.q, nets.mix)
    w_v, v_share, _ = mix.value(batch.s_next)
    q = q_net(batch.o_next) if hyper.local_value == "max" else None
    v_tot_next = losses.v_tot(w_v, local_value(v_net, q, batch.o_next, batch.avail_next, hyper), v_share)
    return losses.td_target(batch.r, batch.done, v_tot_next, hyper.gamma)


def value_loss(nets, batch, hyper):
    """Lines 5-7: Eq. (5) for V_i; Eq. (6) for Q_i, w_v, w_q and V_share. Both start from the same parameters.

    Returns ({"L_V": [K], "L_Q": [K]}, the advantage of Eq. (8) [K,B,n] without gradient); no L_V with `local_value: max`.
    """
    v, q, _, _, _, q_tot = factorize(nets, batch, hyper)
    with torch.no_grad():
        q_bar = nets.q_bar(batch.o)
    found = {"L_Q": losses.td_loss(q_tot, target(nets, batch, hyper))}
    if hyper.local_value == "expectile":
        u = take(q_bar, batch.a) - v
        found = {"L_V": losses.expectile_loss(u, hyper.tau, alive(batch, hyper)), **found}
    return found, advantage(q, q_bar, v, batch, hyper)


def advantage(q, q_bar, v, batch, hyper):
    """Eq. (8): Qbar_i - V_i or, by `advantage`, Q_i - V_i (register 9), without gradient. q, v [K,B,n], q_bar [K,B,n,A].

    With `local_value: max` V_i is the maximum of the same Q_i, so that the advantage is never above 0.
    """
    if hyper.advantage == "online":
        return q.detach() - v.detach()
    best = v if hyper.local_value == "expectile" else counted(q_bar, batch.avail, hyper).max(-1).values
    return take(q_bar, batch.a) - best.detach()


def policy_loss(nets, batch, adv, hyper):
    """Line 11: Eq. (8). adv [K,B,n] without gradient. Returns [K]."""
    weight = losses.awr_weight(adv, hyper.beta, hyper.max_weight)
    return losses.awr_loss(weight, log_pi(nets.pi, batch, hyper), alive(batch, hyper))


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged beside the results: V_tot and Q_tot [K,B]; the rest [K]: the TD error |target - Q_tot| of Eq. (6), scales, the spread of exp(beta A)."""
    v, q, w_v, w_q, v_tot, q_tot = factorize(nets, batch, hyper)
    adv = advantage(q, nets.q_bar(batch.o), v, batch, hyper)
    weight = losses.awr_weight(adv, hyper.beta, hyper.max_weight)
    return {
        "v_tot": v_tot,
        "q_tot": q_tot,
        "td_error": (target(nets, batch, hyper) - q_tot).abs().mean(1),
        "w_v": losses.mean(w_v),
        "w_q": losses.mean(w_q),
        "adv_std": adv.flatten(1).std(1),
        "weight_mean": losses.mean(weight),
        "weight_std": weight.flatten(1).std(1),
        "weight_clipped": losses.mean((weight >= hyper.max_weight).float()),
        **policy_diagnostics(nets.pi, batch, hyper),
    }


@torch.no_grad()
def examine(nets, batch, hyper):
    """Measured once, at the end: how often the tuple of greedy Q_i is not what maximises Q_tot, a lower bound, [K]."""
    q = nets.q(batch.o)
    v = local_value(nets.v, q, batch.o, batch.avail, hyper)

    def q_tot(a):
        w_v, w_q, v_share = nets.mix(batch.s, a)
        return losses.q_tot(losses.v_tot(w_v, v, v_share), w_q, take(q, a), v)

    return single_deviations(q, batch.avail, q_tot)


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

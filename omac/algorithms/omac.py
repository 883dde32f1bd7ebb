"""OMAC: Algorithm 1. Coupled value factorization, in-sample expectile values, advantage-weighted local policies."""

import copy

import torch
from torch import nn

from omac import losses
from omac.networks import AgentMLP, Factorization
from omac.policy import log_pi, policy_diagnostics, take

GROUPS = {"v": ["v"], "q": ["q", "mix"], "pi": ["pi"]}
TARGETS = [("q", "q_bar"), ("v", "v_bar"), ("mix", "mix_bar")]


def build(spec, hyper, gens):
    """Lines 1-2: V_i, Q_i, pi_i, w_v, w_q, V_share and the target copies, for the seeds of `gens`."""
    nets = nn.Module()
    nets.v = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, 1)
    nets.q = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    nets.mix = Factorization(gens, spec.n, spec.state, spec.actions, hyper.cca_hidden, hyper.credit)
    for online, target in TARGETS:
        setattr(nets, target, copy.deepcopy(getattr(nets, online)).requires_grad_(False))
    for unused in ("f_q1", "f_q2"):  # V_tot(o') needs w_v and V_share alone
        if hasattr(nets.mix_bar, unused):
            delattr(nets.mix_bar, unused)
    return nets


def factorize(nets, batch):
    """Line 6: V_i, Q_i, w_v, w_q [K,B,n] and V_tot, Q_tot [K,B] of Eq. (2). V_i is detached: Eq. (5) alone trains it."""
    v = nets.v(batch.o)[..., 0]
    q = take(nets.q(batch.o), batch.a)
    w_v, w_q, v_share = nets.mix(batch.s, batch.a)
    v_tot = losses.v_tot(w_v, v.detach(), v_share)
    return v, q, w_v, w_q, v_tot, losses.q_tot(v_tot, w_q, q, v.detach())


@torch.no_grad()
def target(nets, batch, hyper):
    """Eq. (6): r + gamma (1 - d) V_tot(o') [K,B], V_tot from the target copies or, by `bootstrap`, the online networks."""
    v_net, mix = (nets.v_bar, nets.mix_bar) if hyper.bootstrap == "target" else (nets.v, nets.mix)
    w_v, v_share, _ = mix.value(batch.s_next)
    v_tot_next = losses.v_tot(w_v, v_net(batch.o_next)[..., 0], v_share)
    return losses.td_target(batch.r, batch.done, v_tot_next, hyper.gamma)


def value_loss(nets, batch, hyper):
    """Lines 5-7: Eq. (5) for V_i; Eq. (6) for Q_i, w_v, w_q and V_share. Both start from the same parameters.

    Returns ({"L_V": [K], "L_Q": [K]}, the advantage of Eq. (8) [K,B,n] without gradient).
    """
    v, q, _, _, _, q_tot = factorize(nets, batch)
    with torch.no_grad():
        q_bar = take(nets.q_bar(batch.o), batch.a)
    return {
        "L_V": losses.expectile_loss(q_bar - v, hyper.tau, batch.alive if hyper.mask_dead else None),
        "L_Q": losses.td_loss(q_tot, target(nets, batch, hyper)),
    }, advantage(q, q_bar, v, hyper)


def advantage(q, q_bar, v, hyper):
    """Eq. (8): Qbar_i - V_i or, by `advantage`, Q_i - V_i (register 9), without gradient. All [K,B,n]."""
    return (q_bar if hyper.advantage == "target" else q).detach() - v.detach()


def policy_loss(nets, batch, adv, hyper):
    """Line 11: Eq. (8). adv [K,B,n] without gradient. Returns [K]."""
    weight = losses.awr_weight(adv, hyper.beta, hyper.max_weight)
    return losses.awr_loss(weight, log_pi(nets.pi, batch, hyper), batch.alive if hyper.mask_dead else None)


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged beside the results: V_tot and Q_tot [K,B]; the rest [K]: the TD error |target - Q_tot| of Eq. (6), scales, the spread of exp(beta A)."""
    v, q, w_v, w_q, v_tot, q_tot = factorize(nets, batch)
    adv = advantage(q, take(nets.q_bar(batch.o), batch.a), v, hyper)
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


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

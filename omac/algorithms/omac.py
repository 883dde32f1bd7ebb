"""OMAC: Algorithm 1. Coupled value factorization, in-sample expectile values, advantage-weighted local policies.

The ablations of 6.4 are settings: `credit` tied (w/o CVF) or independent (w/o CCA), `tau`, and `local_value: max`
(CVF-maxQ), where V_i(o_i) := max over available a of Q_i(o_i,a): no V network and no Eq. (5), and Eq. (6) trains Q_i
through V_i too. The values do not depend on the policy: they are learned first, then policies, one for each temperature.
"""

import copy

import torch
from torch import nn

from omac.algorithms.common import alive, counted, each_policy
from omac.nn import losses
from omac.nn.factorization import Factorization
from omac.nn.igm import single_deviations
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_pi, policy_diagnostics, take, weight_diagnostics
from omac.shapes import Bool, Float, Tensor

GROUPS = {"v": ["v"], "q": ["q", "mix"], "pi": ["pi"]}
TARGETS = [("q", "q_bar"), ("v", "v_bar"), ("mix", "mix_bar")]
READS = (
    *("hidden", "cca_hidden", "gamma", "bootstrap", "mask_actions", "mask_dead"),
    *("credit", "local_value", "tau", "advantage", "advantage_scale", "beta", "max_weight", "schedule"),
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


def local_value(
    v_net, q: Float[Tensor, "K B n A"] | None, o, avail: Bool[Tensor, "K B n A"], hyper
) -> Float[Tensor, "K B n"]:
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
def target(nets, batch, hyper) -> Float[Tensor, "K B"]:
    """Eq. (6): r + gamma (1 - d) V_tot(o') [K,B], V_tot from the target copies or, by `bootstrap`, the online networks."""
    bar = hyper.bootstrap == "target"
    v_net, q_net, mix = (nets.v_bar, nets.q_bar, nets.mix_bar) if bar else (nets.v, nets.q, nets.mix)
    w_v, v_share, _ = mix.value(batch.s_next)
    q = q_net(batch.o_next) if hyper.local_value == "max" else None
    v_tot_next = losses.v_tot(w_v, local_value(v_net, q, batch.o_next, batch.avail_next, hyper), v_share)
    return losses.td_target(batch.r, batch.done, v_tot_next, hyper.gamma)


def value_loss(nets, batch, hyper) -> tuple[dict[str, Float[Tensor, " K"]], dict[str, Float[Tensor, "K B n"]]]:
    """Lines 5-7: Eq. (5) for V_i; Eq. (6) for Q_i, w_v, w_q and V_share. Both start from the same parameters.

    Returns ({"L_V": [K], "L_Q": [K]}, `signal` of the same networks); no L_V with `local_value: max`.
    """
    v, q, _, w_q, _, q_tot = factorize(nets, batch, hyper)
    with torch.no_grad():
        q_bar = nets.q_bar(batch.o)
    found = {"L_Q": losses.td_loss(q_tot, target(nets, batch, hyper))}
    if hyper.local_value == "expectile":
        u = take(q_bar, batch.a) - v
        found = {"L_V": losses.expectile_loss(u, hyper.tau, alive(batch, hyper)), **found}
    return found, {"advantage": advantage(q, q_bar, v, batch, hyper), "w_q": w_q.detach()}


@torch.no_grad()
def signal(nets, batch, hyper) -> dict[str, Float[Tensor, "K B n"]]:
    """What policies read of the values, without gradient: {"advantage": A_i of Eq. (8), "w_q": w_q_i}, [K,B,n] each."""
    v, q, _, w_q, _, _ = factorize(nets, batch, hyper)
    return {"advantage": advantage(q, nets.q_bar(batch.o), v, batch, hyper), "w_q": w_q}


def scale(signal, hypers) -> dict[str, Float[Tensor, "K B n P"]]:
    """The advantage in the scale of each policy (`advantage_scale`). signal: of all data at once, else of a batch.

    none: A_i, as Eq. (8) prints it; std: A_i over its standard deviation in the data; w_q: w_q_i A_i, the product that
    Q_tot identifies. The last two do not change when w_q is c times as large and Q_i - V_i one c-th.
    Returns {"advantage": [K,B,n,P]}.
    """
    a = signal["advantage"]
    scaled = {"none": a, "std": a / a.flatten(1).std(1).clamp(min=1e-8)[:, None, None], "w_q": signal["w_q"] * a}
    return {"advantage": torch.stack([scaled[h.advantage_scale] for h in hypers], -1)}


def advantage(
    q: Float[Tensor, "K B n"], q_bar: Float[Tensor, "K B n A"], v: Float[Tensor, "K B n"], batch, hyper
) -> Float[Tensor, "K B n"]:
    """Eq. (8): Qbar_i - V_i or, by `advantage`, Q_i - V_i (register 9), without gradient. q, v [K,B,n], q_bar [K,B,n,A].

    With `local_value: max` V_i is the maximum of the same Q_i, so that the advantage is never above 0.
    """
    if hyper.advantage == "online":
        return q.detach() - v.detach()
    best = v if hyper.local_value == "expectile" else counted(q_bar, batch.avail, hyper).max(-1).values
    return take(q_bar, batch.a) - best.detach()


def weights(scaled, hypers) -> Float[Tensor, "K P B n"]:
    """Eq. (8): exp(beta A_i) of each policy, at most max_weight. scaled: as `scale` returns it. Returns [K,P,B,n]."""
    a = scaled["advantage"].movedim(-1, 1)
    beta = a.new_tensor([h.beta for h in hypers]).view(-1, 1, 1)
    return losses.awr_weight(a, beta, hypers[0].max_weight)


def policy_loss(nets, batch, scaled, hypers) -> Float[Tensor, "K P"]:
    """Line 11: Eq. (8) for each policy. scaled: as `scale` returns it. Returns [K,P]."""
    mask = each_policy(alive(batch, hypers[0]))
    return losses.awr_loss(weights(scaled, hypers), log_pi(nets.pi, batch, hypers[0]), mask)


@torch.no_grad()
def diagnose_policy(nets, batch, scaled, hypers):
    """What is logged of each policy, [K,P]: how it stands to the data, and how far exp(beta A) spreads."""
    weight = weights(scaled, hypers)
    clipped = losses.mean((weight >= hypers[0].max_weight).float())
    return {**weight_diagnostics(weight), "weight_clipped": clipped, **policy_diagnostics(nets.pi, batch, hypers[0])}


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged of the values: V_tot and Q_tot [K,B]; the rest [K]: the TD error |target - Q_tot| of Eq. (6), and scales."""
    v, q, w_v, w_q, v_tot, q_tot = factorize(nets, batch, hyper)
    adv = advantage(q, nets.q_bar(batch.o), v, batch, hyper)
    return {
        "v_tot": v_tot,
        "q_tot": q_tot,
        "td_error": (target(nets, batch, hyper) - q_tot).abs().mean(1),
        "w_v": losses.mean(w_v),
        "w_q": losses.mean(w_q),
        "adv_std": adv.flatten(1).std(1),
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

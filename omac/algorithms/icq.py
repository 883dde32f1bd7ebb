"""ICQ, multi-agent: values from the data's own next actions, and policies by softmax-weighted cloning.

    y = r + gamma (1 - d) B softmax_batch(Qbar_tot(o',a') / alpha_value) Qbar_tot(o',a')
    L_pi = -E[w_i(o) B softmax_batch((Q_i(a_i) - sum_a pi_i Q_i) / beta_policy) log pi_i(a_i|o_i)]

w_i are the weights of the linear mixer: as they are, over their sum, or left out (`policy_credit`, register 26). Where the
data end at a time limit there is no a': such a transition is left out of the TD error and of the softmax. The values do not
depend on the policy: they are learned first, then policies, one for each temperature `beta_policy`.
"""

import torch

from omac.algorithms import common
from omac.algorithms.common import TARGETS  # noqa: F401
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_probs, policy_diagnostics, take, take_each, weight_diagnostics

GROUPS = {"q": ["q", "mix"], "pi": ["pi"]}
READS = (
    *("hidden", "cca_hidden", "gamma", "bootstrap", "mask_actions", "mask_dead"),
    *("alpha_value", "beta_policy", "policy_credit", "schedule"),
)


def build(spec, hyper, gens):
    """Q_i, the linear mixer, their target copies, and pi_i."""
    nets = common.critic(spec, hyper, gens)
    nets.pi = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    return nets


@torch.no_grad()
def target(nets, batch, hyper):
    """y [K,B]; it means nothing where the data have neither an end nor a next action."""
    q_tot = common.next_q_tot(nets, batch, batch.a_next, hyper)
    weighted = losses.icq_weight(q_tot, hyper.alpha_value, batch.follows) * q_tot
    return losses.td_target(batch.r, batch.done, weighted, hyper.gamma)


def known(batch):
    """1 where the data have an end or a next action [K,B]: where there is a target."""
    return torch.maximum(batch.follows, batch.done)


def value_loss(nets, batch, hyper):
    """The TD error over transitions with an end or a next action. Returns ({"L_Q": [K]}, `signal` of the same networks)."""
    q = nets.q(batch.o)
    w, b, _ = nets.mix.value(batch.s)
    q_tot = losses.v_tot(w, take(q, batch.a), b)
    loss = losses.td_loss(q_tot, target(nets, batch, hyper), known(batch))
    return {"L_Q": loss}, {"q": q.detach(), "w": w.detach()}


@torch.no_grad()
def signal(nets, batch, hyper):
    """What policies read of the values: {"q": Q_i [K,B,n,A], "w": w_i [K,B,n]}."""
    return {"q": nets.q(batch.o), "w": nets.mix.value(batch.s).w_v}


@torch.no_grad()
def advantage(q, log_p, a):
    """Q_i(a_i) - sum_a pi_i(a) Q_i(a) [K,P,B,n], in units of return, of q [K,B,n,A], log pi_i [K,P,B,n,A] and the data's
    actions a [K,B,n].
    """
    return take(q, a)[:, None] - (log_p.exp() * q[:, None]).sum(-1)


def softmax_weights(signal, log_p, batch, hypers):
    """B softmax_batch(A_i / beta_policy) [K,P,B,n] of each policy; its mean is 1."""
    temperature = log_p.new_tensor([h.beta_policy for h in hypers]).view(-1, 1, 1)
    adv = advantage(signal["q"], log_p, batch.a)
    mask = common.alive(batch, hypers[0])
    return losses.icq_weight(adv, temperature, mask if mask is None else mask[:, None].expand_as(adv))


def credit(w, how):
    """The share of each agent in the policy's loss [K,B,n] by `policy_credit`: raw w_i, sum_one w_i / sum_j w_j, or none."""
    return {
        "raw": lambda: w,
        "sum_one": lambda: w / w.sum(-1, keepdim=True).clamp(min=1e-8),
        "none": lambda: torch.ones_like(w),
    }[how]()


def policy_loss(nets, batch, signal, hypers):
    """L_pi of each policy. Returns [K,P]."""
    log_p = log_probs(nets.pi, batch, hypers[0])
    with torch.no_grad():
        weight = softmax_weights(signal, log_p, batch, hypers)
        weight *= common.each_policy(credit(signal["w"], hypers[0].policy_credit))
    return losses.awr_loss(weight, take_each(log_p, batch.a), common.each_policy(common.alive(batch, hypers[0])))


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged of the values; `adv_std`: of Q_i(a_i) less its mean over the available actions."""
    q = nets.q(batch.o)
    mean = (q * batch.avail).sum(-1) / batch.avail.sum(-1)
    found = common.value_diagnostics(nets, batch, target(nets, batch, hyper), known(batch))
    return {**found, "adv_std": (take(q, batch.a) - mean).flatten(1).std(1)}


@torch.no_grad()
def diagnose_policy(nets, batch, signal, hypers):
    """What is logged of each policy, [K,P]; `weight_*`: of B softmax of the advantage, over the probe as one batch."""
    weight = softmax_weights(signal, log_probs(nets.pi, batch, hypers[0]), batch, hypers)
    return {**weight_diagnostics(weight), **policy_diagnostics(nets.pi, batch, hypers[0])}


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

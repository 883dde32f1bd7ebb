"""ICQ, multi-agent: values from the data's own next actions, and a policy by softmax-weighted cloning.

    y = r + gamma (1 - d) B softmax_batch(Qbar_tot(o',a') / alpha_value) Qbar_tot(o',a')
    L_pi = -E[w_i(o) B softmax_batch((Q_i(a_i) - sum_a pi_i Q_i) / beta_policy) log pi_i(a_i|o_i)]

w_i are the weights of the linear mixer. Where the data end at a time limit there is no a': such a transition is left out
of the TD error and of the softmax. The values do not depend on the policy: both schedules.
"""

import torch

from omac.algorithms import common
from omac.algorithms.common import TARGETS  # noqa: F401
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import log_probs, policy_diagnostics, take

GROUPS = {"q": ["q", "mix"], "pi": ["pi"]}
READS = (
    *("hidden", "cca_hidden", "gamma", "bootstrap", "mask_actions", "mask_dead"),
    *("alpha_value", "beta_policy"),
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
    """The TD error over transitions with an end or a next action. Returns ({"L_Q": [K]}, Q_i [K,B,n,A] without gradient)."""
    q = nets.q(batch.o)
    q_tot = common.mixed(nets.mix, batch.s, take(q, batch.a))
    return {"L_Q": losses.td_loss(q_tot, target(nets, batch, hyper), known(batch))}, q.detach()


@torch.no_grad()
def advantage(q, log_p, a):
    """Q_i(a_i) - sum_a pi_i(a) Q_i(a) [K,B,n], in units of return, of q and log pi_i [K,B,n,A] and the data's actions a [K,B,n]."""
    return take(q, a) - (log_p.exp() * q).sum(-1)


def policy_loss(nets, batch, q, hyper):
    """L_pi of Q_i [K,B,n,A] without gradient. Returns [K]."""
    alive, log_p = common.alive(batch, hyper), log_probs(nets.pi, batch, hyper)
    with torch.no_grad():
        weight = losses.icq_weight(advantage(q, log_p, batch.a), hyper.beta_policy, alive)
        weight *= nets.mix.value(batch.s).w_v
    return losses.awr_loss(weight, take(log_p, batch.a), alive)


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged beside the results; `weight_*`: B softmax of the advantage, whose mean is 1, over the probe as one batch."""
    adv = advantage(nets.q(batch.o), log_probs(nets.pi, batch, hyper), batch.a)
    weight = losses.icq_weight(adv, hyper.beta_policy, common.alive(batch, hyper))
    return {
        **common.value_diagnostics(nets, batch, target(nets, batch, hyper), known(batch)),
        "adv_std": adv.flatten(1).std(1),
        "weight_mean": losses.mean(weight),
        "weight_std": weight.flatten(1).std(1),
        **policy_diagnostics(nets.pi, batch, hyper),
    }


def logits(nets):
    """The network that acts: greedy over available actions."""
    return nets.pi

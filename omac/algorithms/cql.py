"""CQL-MA: Q-learning on the linear mixer with a local penalty on what the data do not do. Acts greedily in Q_i.

    L = E[(y - Q_tot)^2] + alpha E[sum_i (logsumexp_A(o_i) Q_i - Q_i(a_i))],  y from a'_i = argmax_A(o'_i) Q_i(o'_i, .)

The maximum is of the online Q_i and the target copies value it. There is no policy network: all steps are steps of the values.
"""

import torch

from omac.algorithms import common
from omac.algorithms.common import TARGETS  # noqa: F401
from omac.nn import losses
from omac.nn.policy import policy_diagnostics, take

GROUPS = {"q": ["q", "mix"]}
READS = ("hidden", "cca_hidden", "gamma", "bootstrap", "mask_actions", "mask_dead", "alpha")


def build(spec, hyper, gens):
    """Q_i, the linear mixer and their target copies."""
    return common.critic(spec, hyper, gens)


@torch.no_grad()
def target(nets, batch, hyper):
    """r + gamma (1 - d) Q_tot(o', a') [K,B]."""
    return common.greedy_target(nets, batch, common.counted(nets.q(batch.o_next), batch.avail_next, hyper), hyper)


def value_loss(nets, batch, hyper):
    """The TD error and the penalty, times alpha. Returns ({"L_Q": [K], "L_CQL": [K]}, {"q": Q_i [K,B,n,A] without gradient})."""
    return losses_of(nets.q, nets.mix, batch, target(nets, batch, hyper), hyper)


def losses_of(q_net, mix, batch, y, hyper):
    """`value_loss` of one critic: its Q_i and mixer, for targets y [K,B]."""
    q = q_net(batch.o)
    taken = take(q, batch.a)
    penalty = losses.cql_penalty(common.counted(q, batch.avail, hyper), taken, common.alive(batch, hyper))
    return {
        "L_Q": losses.td_loss(common.mixed(mix, batch.s, taken), y),
        "L_CQL": hyper.alpha * penalty,
    }, {"q": q.detach()}


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged of the values."""
    return common.value_diagnostics(nets, batch, target(nets, batch, hyper))


@torch.no_grad()
def diagnose_policy(nets, batch, signal, hypers):
    """What is logged beside it, [K,1]: entropy and log-likelihood of softmax(Q_i), which the penalty is about."""
    return policy_diagnostics(nets.q, batch, hypers[0])


def logits(nets):
    """The network that acts: greedy in Q_i over available actions."""
    return nets.q

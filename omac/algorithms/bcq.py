"""BCQ-MA: Q-learning on the linear mixer over the actions that a behaviour model G finds likely. Acts greedily in Q_i over them.

    L = E[(y - Q_tot)^2] + L_G,  y from a'_i = argmax Q_i over {a in A(o'_i): G(a|o'_i) / max_A G > threshold}

The maximum is of the online Q_i and the target copies value it. L_G is G's cross-entropy on the data and a penalty on its
logits. There is no policy network: all steps are steps of the values and of G.
"""

import torch
from torch import nn

from omac.algorithms import common
from omac.algorithms.common import TARGETS  # noqa: F401
from omac.nn import losses
from omac.nn.networks import AgentMLP
from omac.nn.policy import MASKED, policy_diagnostics, take

GROUPS = {"q": ["q", "mix"], "g": ["g"]}
READS = ("hidden", "cca_hidden", "gamma", "bootstrap", "mask_actions", "mask_dead", "threshold", "logit_penalty")


class Filtered(nn.Module):
    """Q_i where G finds an action likely, -1e9 elsewhere: what BCQ maximises, in its target and in battle."""

    needs_avail = True  # the likeliest action is the likeliest available one

    def __init__(self, q, g, threshold):
        super().__init__()
        self.q, self.g, self.threshold = q, g, threshold

    def forward(self, o, avail):
        """o [K,B,n,O], avail bool [K,B,n,A] -> [K,B,n,A]."""
        return self.q(o).masked_fill(~losses.bcq_filter(self.g(o), avail, self.threshold), MASKED)


def build(spec, hyper, gens):
    """Q_i, the linear mixer, their target copies, and G."""
    nets = common.critic(spec, hyper, gens)
    nets.g = AgentMLP(gens, spec.n, spec.obs, hyper.hidden, spec.actions)
    nets.threshold = hyper.threshold
    return nets


@torch.no_grad()
def target(nets, batch, hyper):
    """r + gamma (1 - d) Q_tot(o', a') [K,B]."""
    avail = batch.avail_next if hyper.mask_actions else torch.ones_like(batch.avail_next)
    return common.greedy_target(nets, batch, logits(nets)(batch.o_next, avail), hyper)


def value_loss(nets, batch, hyper):
    """The TD error and the behaviour model's loss. Returns ({"L_Q": [K], "L_G": [K]}, {}: no policy reads them)."""
    q_tot = common.mixed(nets.mix, batch.s, take(nets.q(batch.o), batch.a))
    g, alive = nets.g(batch.o), common.alive(batch, hyper)
    log_g = take(common.counted(g, batch.avail, hyper).log_softmax(-1), batch.a)
    return {
        "L_Q": losses.td_loss(q_tot, target(nets, batch, hyper)),
        "L_G": losses.bcq_imitation(g, log_g, hyper.logit_penalty, alive),
    }, {}


@torch.no_grad()
def diagnose(nets, batch, hyper):
    """What is logged of the values; `allowed`: the share of available actions that the filter leaves."""
    allowed = (logits(nets)(batch.o, batch.avail) > MASKED).sum((1, 2, 3)) / batch.avail.sum((1, 2, 3))
    return {**common.value_diagnostics(nets, batch, target(nets, batch, hyper)), "allowed": allowed}


@torch.no_grad()
def diagnose_policy(nets, batch, signal, hypers):
    """What is logged beside it, [K,1]: entropy and log-likelihood of G, agreement of the actions chosen."""
    score = logits(nets)(batch.o, batch.avail)
    agreement = (score.argmax(-1) == batch.a).float().mean((1, 2))[:, None]
    return {**policy_diagnostics(nets.g, batch, hypers[0]), "agreement": agreement}


def logits(nets):
    """The networks that act: greedy in Q_i over the filtered available actions."""
    return Filtered(nets.q, nets.g, nets.threshold)

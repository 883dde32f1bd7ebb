"""Small batches and networks made by hand, and all losses of an algorithm's module, as several tests of formulas need them."""

import torch

from omac.envs import Spec
from omac.nn.networks import generators
from omac.nn.policy import repeat_parameters
from omac.training.replay import Batch


def made(n=2, A=4, B=6, K=1, seed=0):
    """A batch: row 0 is an end, row 1 a time limit that bootstraps, the others are on the way."""
    g = torch.Generator().manual_seed(seed)
    o, o_next = torch.randn(2, K, B, n, 5, generator=g)
    s, s_next = torch.randn(2, K, B, 7, generator=g)
    avail, avail_next = torch.rand(2, K, B, n, A, generator=g) < 0.6
    a, a_next = torch.randint(A, (2, K, B, n), generator=g)
    for mask, taken in ((avail, a), (avail_next, a_next)):
        mask.scatter_(-1, taken[..., None], True)
    done, follows = torch.zeros(K, B), torch.ones(K, B)
    done[:, 0], follows[:, :2] = 1, 0
    alive = (avail.sum(-1) > 1).float()
    r, ret = torch.randn(2, K, B, generator=g)
    now = {"o": o, "s": s, "a": a, "avail": avail, "alive": alive, "r": r, "done": done, "ret": ret}
    then = {"o_next": o_next, "s_next": s_next, "avail_next": avail_next, "a_next": a_next, "follows": follows}
    return Batch(**now, **then, key=tuple(range(K)))


def built(module, hyper, n=2, A=4, seeds=(0,), policies=1):
    """Networks for `made`, the target copies moved away from their networks; so many equal policies of each seed."""
    nets = module.build(Spec("toy", "made", n, 5, 7, A, 10), hyper, generators(seeds))
    for _, target in module.TARGETS:
        for i, p in enumerate(getattr(nets, target).parameters()):
            p.data.add_(0.05 * (i + 1))
    if policies > 1:
        repeat_parameters(module.logits(nets), policies)
    return nets


def scaled(module, signal, *hypers):
    """The signal in the scale of each policy, where the algorithm has one."""
    return module.scale(signal, hypers) if hasattr(module, "scale") else signal


def policy_loss(module, nets, batch, signal, hyper):
    """The loss [K] of the one policy of each seed; signal: as `value_loss` returns it."""
    (loss,) = module.policy_loss(nets, batch, scaled(module, signal, hyper), (hyper,)).unbind(1)
    return loss


def total(module, nets, batch, hyper):
    """All losses of a module, {name: [K]}."""
    found, signal = module.value_loss(nets, batch, hyper)
    if hasattr(module, "policy_loss"):
        found = {**found, "L_pi": policy_loss(module, nets, batch, signal, hyper)}
    return found

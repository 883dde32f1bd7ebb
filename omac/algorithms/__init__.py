"""Every algorithm is a module of the same few functions; adding one is a file and a line here.

build(spec, hyper, gens) -> nn.Module with `pi`; GROUPS: {group: its networks}, clipped together; TARGETS: [(online, target)];
value_loss(nets, batch, hyper) -> ({name: [K]}, adv [K,B,n]); policy_loss(nets, batch, adv, hyper) -> [K];
diagnose(nets, batch, hyper) -> {name: [K] or [K,B]}; logits(nets) -> the policy network that acts.
"""

from omac.algorithms import bc, omac

REGISTRY = {"omac": omac, "bc": bc}


def get(name):
    """The module of an algorithm. Raises ValueError for a name that is not in the registry."""
    if name not in REGISTRY:
        raise ValueError(f"unknown algorithm {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]

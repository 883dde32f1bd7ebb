"""Every algorithm is a module of the same few functions; adding one is a file and a line here.

build(spec, hyper, gens) -> nn.Module with the networks of K = len(gens) seeds; GROUPS: {group: its networks}, clipped
together; TARGETS: [(online, target)]; READS: the settings that the module reads;
value_loss(nets, batch, hyper) -> ({name: [K]}, signal): what the policy loss weighs by, without gradient: the advantage
[K,B,n], all Q_i [K,B,n,A], or None; policy_loss(nets, batch, signal, hyper) -> [K], absent where the values act;
diagnose(nets, batch, hyper) -> {name: [K] or [K,B]}, at every snapshot; examine(nets, batch, hyper) -> {name: [K]},
optional, once at the end; logits(nets) -> the network that acts: o [K,B,n,O] -> [K,B,n,A], or of (o, avail) if it has
`needs_avail = True`; its state is what snapshots keep. tests/test_seventh_algorithm.py checks all this of every entry.
"""

from omac.algorithms import bc, bcq, cql, icq, omac, omar
from omac.config.names import unknown

REGISTRY = {"omac": omac, "bc": bc, "icq": icq, "omar": omar, "bcq": bcq, "cql": cql}


def get(name):
    """The module of an algorithm. Raises ValueError for a name that is not in the registry."""
    if name not in REGISTRY:
        raise ValueError(unknown("algorithm", name, REGISTRY))
    return REGISTRY[name]


def refuse(name, changed):
    """Raise ValueError for a setting of `changed` that other algorithms read and this one does not: it would change nothing."""
    others = {s for module in REGISTRY.values() for s in module.READS} - set(get(name).READS)
    idle = [s for s in changed if s in others]
    if idle:
        raise ValueError(
            f"{name} does not read {', '.join(idle)}: its results would be the default's under another name"
        )

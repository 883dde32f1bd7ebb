"""Every algorithm is a module of the same few functions; adding one is a file and a line here.

build(spec, hyper, gens) -> nn.Module with the networks of K = len(gens) seeds; GROUPS: {group: its networks}, clipped
together; TARGETS: [(online, target)]; READS: the settings that the module reads; COUPLED = True where the values ask the
policy, so that both are learned side by side whatever the schedule. Values:
value_loss(nets, batch, hyper) -> ({name: [K]}, signal); signal: what policies read of the values, without gradient,
{name: [K,B,...]}; signal(nets, batch, hyper) -> the same by itself, once for all data when the values are finished;
diagnose(nets, batch, hyper) -> {name: [K] or [K,B]}, at every snapshot; examine(nets, batch, hyper) -> {name: [K]},
optional, once at the end. Policies, absent where the values act; hypers: a Hyper each of the P policies of a seed:
scale(signal, hypers) -> signal, optional, of all data at once; policy_loss(nets, batch, signal, hypers) -> [K,P].
diagnose_policy(nets, batch, signal, hypers) -> {name: [K,P]}, of what acts, [K,1] where the values do.
logits(nets) -> the network that acts: o [K,B,n,O] -> [K,B,n,A], or of (o, avail) if it has `needs_avail = True`; its state
is what snapshots keep. tests/test_seventh_algorithm.py checks all this of every entry.
"""

from omac.algorithms import bc, bcq, cql, icq, omac, omar
from omac.config.names import unknown

REGISTRY = {"omac": omac, "bc": bc, "icq": icq, "omar": omar, "bcq": bcq, "cql": cql}


def get(name):
    """Return the module of an algorithm. Raises ValueError for a name that is not in the registry."""
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

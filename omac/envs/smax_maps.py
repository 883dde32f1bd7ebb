"""SMAX's maps as they are fought here: what differs from JaxMARL's defaults, and why.

The settings are recorded with the data (attribute `simulator`) and belong to their digest: a map that changes is another
data set, and its cells alone run again.
"""

from omac.schema import MAPS

UNIT_TYPES = ("marine", "marauder", "stalker", "zealot", "zergling", "hydralisk")  # JaxMARL's order
CORRIDOR = ["zealot"] * 6 + ["zergling"] * 24
MAP_SETTINGS = {
    **{name: {"walls_cause_death": True} for name in MAPS},
    "5m_vs_6m": {  # the marine is the first type; the other numbers are JaxMARL's
        "walls_cause_death": True,
        "unit_type_attacks": [6.0, 10.0, 13.0, 8.0, 5.0, 12.0],
        "unit_type_attack_ranges": [5.75, 6.0, 6.0, 2.0, 2.0, 5.0],
        "time_per_step": 0.044642857,  # s; a step is eight of these
    },
    "corridor": {
        "units": [UNIT_TYPES.index(x) for x in CORRIDOR],  # JaxMARL has no such map
        "allies": 6,
        "walls_cause_death": False,
        "map_height": 8,
        "max_steps": 200,
        "unit_type_attacks": [9.0, 10.0, 13.0, 16.0, 4.3, 12.0],
        "unit_type_attack_ranges": [5.0, 6.0, 6.0, 1.1, 1.0, 5.0],
    },
}
CARD = {
    "5m_vs_6m": "5 marines against 6, at most 100 steps of 0.36 s (SMAC: 70). The marine and the step are StarCraft II's: it hits for 6 "
    "(JaxMARL: 9), reaches 5.75 between centres, which is 5.0 between edges (JaxMARL: 5.0 between centres), and decides every 0.36 s "
    "(JaxMARL: 0.5 s). One enemy kills it within 12 decisions (JaxMARL's: 5), which leaves time to pull the wounded back. "
    "The map is still hard: MAPPO ends where it wins about a third of its battles.",
    "corridor": "6 zealots against 24 zerglings on an 8-high strip of 32 with solid walls, at most 200 steps of 0.5 s (StarCraft II: 400 "
    "of 0.36 s). Melee units strike as far as their radii and StarCraft's 0.1 beyond, zealot 1.1 and zergling 1.0 between centres "
    "(JaxMARL: 2.0, so that a second rank strikes over the first). The zealot hits for 16 (StarCraft II: 2 x 8; JaxMARL: 8), the "
    "zergling for 4.3 (5 less the zealot's armour while its shields are down, so that 35 hits kill). StarCraft II's map has one "
    "choke point and its own terrain.",
}


def settings_of(map_name):
    """Return a map's settings, a dict of JSON values. Raises ValueError for a map outside the paper's four."""
    if map_name not in MAP_SETTINGS:
        raise ValueError(f"no SMAX map {map_name!r}; there are {', '.join(MAP_SETTINGS)}")
    return MAP_SETTINGS[map_name]

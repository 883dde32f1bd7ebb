"""Names, columns and orders that the whole package shares, and the one way to write a table of rows."""

MAPS = ("5m_vs_6m", "6h_vs_8z", "3s5z_vs_3s6z", "corridor")  # the paper's four
CARDS = tuple(f"smax-{name}" for name in MAPS) + ("odis-3m",)  # sources and maps with data cards in git
LEVELS = ("good", "medium", "poor")  # the one order
RATIOS = ("100", "50", "10")  # % of the 1000 episodes (Table 1)
PUBLISHED = "published"  # the temperature of a cell's own settings: the paper's
HELD = "held"  # in place of the ratio: the episodes that are never trained on
# Whatever params.yaml may name: SMAX's maps, the toy's, those of SMAC and SMACv2, and the levels that others sort data by.
# A map or level of data of your own needs a word here before it can have `steps` of its own.
KNOWN_MAPS = (
    *MAPS,
    *("line", "3m", "8m", "25m", "8m_vs_9m", "10m_vs_11m", "27m_vs_30m", "2m_vs_1z", "2c_vs_64zg", "2s_vs_1sc", "2s3z"),
    *("3s5z", "3s_vs_3z", "3s_vs_4z", "3s_vs_5z", "1c3s5z", "bane_vs_bane", "so_many_baneling", "MMM", "MMM2"),
    *("terran_5_vs_5", "protoss_5_vs_5", "zerg_5_vs_5", "terran_10_vs_10", "protoss_10_vs_10", "zerg_10_vs_10"),
)
KNOWN_LEVELS = (*LEVELS, "random", "expert", "mixed", "replay", "medium_replay", "medium_expert")
NAMES = {"data": "data", "bc": "BC", "icq": "ICQ", "omar": "OMAR", "bcq": "BCQ-MA", "cql": "CQL-MA", "omac": "OMAC"}
CONTROLS = {
    "random": "random actions",
    "majority": "majority action",
    "clock": "time step alone",
}  # see study/controls.py
METHODS = {**NAMES, "omiga": "OMIGA", "comadice": "ComaDICE"}  # and of others'
VARIANTS = {"wo_cvf": "w/o CVF", "wo_cca": "w/o CCA", "tau_05": "tau 0.5", "tau_08": "tau 0.8", "maxq": "CVF-maxQ"}
OTHERS = {  # variants of other algorithms
    "joint": "values and policy side by side",
    "late": "15000 steps of the values",
    "top_10": "best 10 % of episodes",
    "cql_critic": "CQL-MA's critic",
    "no_credit": "no $w_i$ in the policy's loss",
    "sum_one": "$w_i$ over their sum",
}
SENSITIVITY = {"rtg": "return-to-go", "online": "online bootstrap", "rtg_online": "return-to-go, online bootstrap"}
# what a figure calls a line: an algorithm, or a variant of OMAC
LABEL = {**NAMES, "data": "data set", **CONTROLS, **VARIANTS, **SENSITIVITY, **OTHERS, "default": "OMAC"}
DISTRIBUTIONS = {  # of a_i in Figure 4; the paper does not say which
    "data": "the data's action",
    "greedy": "the policy's greedy action",
    "uniform": "any available action",
}
KEYS = [
    "env",
    "map",
    "level",
    "ratio",
    "algorithm",
    "variant",
    "profile",
    "temperature",
    "seed",
    "step",
    "kind",
]  # columns that tell rows apart
SCORES = ["episodes", "return_mean", "return_std", "win_rate", "length", "simulator"]  # columns of battles
CELL = ["env", "map", "level", "ratio", "algorithm", "variant", "profile"]  # columns that tell cells apart
KINDS_OF_ROWS = ("data", "value", "eval", "final")
NAMED = (
    *CELL[:3],
    *CELL[4:],
    "temperature",
    "kind",
    "simulator",
    "machine",
)  # columns of names; all others are numbers
SIMULATED = {  # environments with a simulator here, and their maps; None: as the game has them
    "smax": MAPS,
    "toy": ("line",),
    "smac": None,
    "smac-madt": None,
}
HIGHEST = {  # what a battle of each environment may return; shields regenerate in StarCraft II, up to 29 has been published
    "smax": 20.01,
    "toy": 20.01,
    "smac": 30.0,
    "smac-madt": 30.0,
}
LONGEST = 1_000  # steps of a battle, in any of these
SET = ["map", "level", "ratio"]  # columns that tell data sets of one simulator apart
OFFLINE = {  # columns known without a simulator, and what tables call them
    "held_log_likelihood": "log-likelihood",
    "held_agreement": "agreement",
    "held_td_error": "TD error",
    "held_q_tot": "Q_tot",
    "held_return_followed": "return that followed",
    "held_q_correlation": "correlation",
}


def label(algorithm, variant=""):
    """Name an algorithm, and a variant of it, as tables and figures do: "OMAC", "OMAC, w/o CVF"."""
    name = (NAMES | CONTROLS).get(algorithm, algorithm)
    return name if variant in ("", "default") else f"{name}, {(VARIANTS | SENSITIVITY | OTHERS).get(variant, variant)}"

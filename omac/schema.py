"""Names, columns and orders that the whole package shares, and the one way to write a table of rows."""

from omac.paths import atomic

MAPS = ("5m_vs_6m", "6h_vs_8z", "3s5z_vs_3s6z", "corridor")  # the paper's four
LEVELS = ("good", "medium", "poor")  # the one order
NAMES = {"data": "data", "bc": "BC", "icq": "ICQ", "omar": "OMAR", "bcq": "BCQ-MA", "cql": "CQL-MA", "omac": "OMAC"}
METHODS = {**NAMES, "omiga": "OMIGA", "comadice": "ComaDICE"}  # and of others'
VARIANTS = {"wo_cvf": "w/o CVF", "wo_cca": "w/o CCA", "tau_05": "tau 0.5", "tau_08": "tau 0.8", "maxq": "CVF-maxQ"}
SENSITIVITY = {"rtg": "return-to-go", "online": "online bootstrap", "rtg_online": "return-to-go, online bootstrap"}
# what a figure calls a line: an algorithm, or a variant of OMAC
LABEL = {**NAMES, "data": "data set", **VARIANTS, **SENSITIVITY, "default": "OMAC"}
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
    "seed",
    "step",
    "kind",
]  # columns that tell rows apart
SCORES = ["episodes", "return_mean", "return_std", "win_rate", "length", "simulator"]  # columns of battles
CELL = ["env", "map", "level", "ratio", "algorithm", "variant", "profile"]  # columns that tell cells apart
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
    name = NAMES.get(algorithm, algorithm)
    return name if variant in ("", "default") else f"{name}, {(VARIANTS | SENSITIVITY).get(variant, variant)}"


def read_rows(path):
    """Read a file of rows. Returns a DataFrame."""
    import pandas as pd

    return pd.read_csv(path, comment="#")


def write_csv(table, path, digits=6):
    """Write a DataFrame as CSV, atomically; the same rows give the same bytes. Returns the path."""
    with atomic(path) as part:
        table.to_csv(part, index=False, float_format=f"%.{digits}g", lineterminator="\n")
    return path

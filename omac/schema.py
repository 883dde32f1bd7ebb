"""Names, columns and orders that the whole package shares, and the one way to write a table of rows."""

import io
from pathlib import Path

from omac.checksums import seal, unseal
from omac.paths import atomic, shown

MAPS = ("5m_vs_6m", "6h_vs_8z", "3s5z_vs_3s6z", "corridor")  # the paper's four
LEVELS = ("good", "medium", "poor")  # the one order
RATIOS = ("100", "50", "10")  # % of the 1000 episodes (Table 1)
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
KINDS_OF_ROWS = ("data", "value", "eval", "final")
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


def write_csv(table, path, digits=6):
    """Write a DataFrame as CSV, sealed and atomically; the same rows give the same bytes. Returns the path."""
    text = table.to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")
    with atomic(path) as part:
        part.write_text(seal(text), newline="\n")
    return path


def read_table(path, **options):
    """Read a sealed CSV. options: pandas.read_csv's. Returns a DataFrame.

    Raises ValueError, one line, for a file that is not as it was written, OSError for a missing one.
    """
    import pandas as pd

    return pd.read_csv(io.StringIO(unseal(Path(path).read_bytes(), shown(path))), **options)


def read_rows(path):
    """Read rows of cells, sealed, and look at what they say. Returns a DataFrame.

    Raises ValueError, one line with file, line, column and value, for a row that cannot be.
    """
    rows = read_table(path)
    missing = [c for c in (*KEYS, *SCORES) if c not in rows]
    if missing:
        raise ValueError(f"{shown(path)} has no column {', '.join(missing)}: these are no rows of cells")
    for column, possible in _possible(rows).items():
        wrong = rows.index[~possible]
        if len(wrong):
            value = rows[column][wrong[0]]
            raise ValueError(
                f"{shown(path)}, line {wrong[0] + 2}: {column} is {value!r}, which cannot be ({RULES[column]})"
            )
    return rows


RULES = {  # of a column of rows, in words
    "kind": f"one of {', '.join(KINDS_OF_ROWS)}",
    "level": f"in SMAX one of {', '.join(LEVELS)}",
    "ratio": "a share in %, 1 to 100",
    "seed": "a whole number, or nothing for a data set's own row",
    "step": "a whole number, or nothing for a data set's own row",
    "episodes": "a whole number, 0 or more",
    "return_mean": "a number from -20 to 60, or nothing where no battle was fought",
    "win_rate": "a share from 0 to 1, or nothing",
    "length": "steps, 0 or more, or nothing",
}


def _possible(rows):
    """{column: bool [rows]} of what each column may say."""
    import pandas as pd

    number = {c: pd.to_numeric(rows[c], errors="coerce") for c in RULES if c not in ("kind", "level")}
    empty = {c: rows[c].isna() for c in number}
    own = rows["kind"] == "data"
    whole = {c: number[c].ge(0) & (number[c] % 1 == 0) for c in ("seed", "step", "episodes")}
    return {
        "kind": rows["kind"].isin(KINDS_OF_ROWS),
        "level": rows["level"].isin(LEVELS) | (rows["env"] != "smax"),
        "ratio": number["ratio"].between(1, 100),
        "seed": whole["seed"] | (empty["seed"] & own),
        "step": whole["step"] | (empty["step"] & own),
        "episodes": whole["episodes"] | (empty["episodes"] & (rows["kind"] == "value")),
        "return_mean": number["return_mean"].between(-20, 60) | empty["return_mean"],
        "win_rate": number["win_rate"].between(0, 1) | empty["win_rate"],
        "length": number["length"].ge(0) | empty["length"],
    }

"""Names, columns and orders that the whole package shares, and the one way to write a table of rows."""

import io
from pathlib import Path

from omac.checksums import seal, unseal
from omac.paths import atomic, shown

MAPS = ("5m_vs_6m", "6h_vs_8z", "3s5z_vs_3s6z", "corridor")  # the paper's four
CARDS = tuple(f"smax-{name}" for name in MAPS) + ("odis-3m",)  # sources and maps with data cards in git
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
KINDS_OF_ROWS = ("data", "value", "eval", "final")
NAMED = (*CELL[:3], *CELL[4:], "kind", "simulator", "machine")  # columns of names; all others are numbers
HIGHEST = {  # what a battle of each environment may return; shields regenerate in StarCraft II, up to 29 has been published
    "smax": 20.01,
    "toy": 20.01,
    "smac": 30.0,
    "smac-madt": 30.0,
}
LONGEST = 1_000  # steps of a battle, in any environment
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
        part.write_bytes(seal(text.encode()))
    return path


def read_table(path, **options):
    """Read a sealed CSV. options: pandas.read_csv's. Returns a DataFrame.

    Raises ValueError, one line, for a file that is not as it was written, OSError for a missing one.
    """
    import pandas as pd

    return pd.read_csv(io.BytesIO(unseal(Path(path).read_bytes(), shown(path))), **options)


def read_rows(path):
    """Read rows of cells, sealed, and look at what they say. Returns a DataFrame.

    Raises ValueError, one line with file, line, column and value, for a row that cannot be.
    """
    rows = read_table(path)
    missing = [c for c in (*KEYS, *SCORES) if c not in rows]
    if missing:
        raise ValueError(f"{shown(path)} has no column {', '.join(missing)}: these are no rows of cells")
    for column, possible, rule in [*_names(rows), *_numbers(rows)]:
        wrong = rows.index[~possible]
        if len(wrong):
            value = rows[column][wrong[0]]
            raise ValueError(f"{shown(path)}, line {wrong[0] + 2}: {column} is {value!r}, which cannot be ({rule})")
    return rows


def _names(rows):
    """Yield (column, bool [rows] of what it may say, that in words) of the columns of names."""
    from omac.config import load_params

    params, own, smax = load_params(), rows["kind"] == "data", rows["env"] == "smax"
    text = {c: rows[c].fillna("").astype(str) for c in NAMED if c in rows}
    word = {c: text[c].str.fullmatch(r"\w+") for c in ("map", "level")}
    yield "env", text["env"].isin(HIGHEST), f"one of {', '.join(HIGHEST)}"
    yield "map", text["map"].isin(MAPS) | (word["map"] & ~smax), f"in SMAX one of {', '.join(MAPS)}"
    yield "level", text["level"].isin(LEVELS) | (word["level"] & ~smax), f"in SMAX one of {', '.join(LEVELS)}"
    yield "kind", text["kind"].isin(KINDS_OF_ROWS), f"one of {', '.join(KINDS_OF_ROWS)}"
    algorithms = [a for a in NAMES if a != "data"]
    known = (text["algorithm"] == "data").where(own, text["algorithm"].isin(algorithms))
    yield "algorithm", known, f"data in a row of that kind, else one of {', '.join(algorithms)}: schema.NAMES"
    known = text["variant"].isin(["", *params["variants"]])
    yield "variant", known, f"nothing, or one of {', '.join(params['variants'])}: params.yaml"
    known = text["profile"].isin(params["profiles"])
    yield "profile", known, f"one of {', '.join(params['profiles'])}: params.yaml"


def _numbers(rows):
    """Yield (column, bool [rows] of what it may say, that in words) of the columns of numbers."""
    import pandas as pd

    empty, own = rows.isna(), rows["kind"] == "data"
    number = {c: pd.to_numeric(rows[c], errors="coerce") for c in rows if c not in NAMED}
    whole = {c: number[c].ge(0) & (number[c] % 1 == 0) for c in ("seed", "step", "episodes")}
    high = rows["env"].map(HIGHEST)
    yield "ratio", number["ratio"].between(1, 100), "a share in %, 1 to 100"
    for column in ("seed", "step"):
        yield column, whole[column] | (empty[column] & own), "a whole number, or nothing for a data set's own row"
    valued = empty["episodes"] & (rows["kind"] == "value")
    yield "episodes", whole["episodes"] | valued, "a whole number, 0 or more"
    bounds = {"return_mean": (-high, high), "return_std": (0, high), "win_rate": (0, 1), "length": (0, LONGEST)}
    for column, (low, top) in bounds.items():
        within = number[column].between(low, top)
        yield column, within | empty[column], "on the scale of its environment, or nothing without a battle"
    for column, x in number.items():
        if column not in KEYS + SCORES:
            yield column, x.abs().lt(float("inf")) | empty[column], "a finite number, or nothing"

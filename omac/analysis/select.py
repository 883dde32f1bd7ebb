"""Which rows a table or a figure is made of, and how they are called."""

from omac.analysis.results import at_temperatures, final_table
from omac.config.names import check_name
from omac.schema import SET


def choose(rows, env="smax", profile="laptop", chosen=None):
    """Return the result rows of one simulator and profile without ablations, and its data sets'.

    chosen: the temperatures, as in `at_temperatures`. Raises ValueError when no policy's final row is left, with what there is, and
    when a seed has two.
    """
    rows = at_temperatures(rows, chosen)
    mine = rows["variant"].fillna("").isin(["", "default"]) & (rows["env"] == env)
    mine &= (rows["profile"] == profile) | (rows["kind"] == "data")
    if not (rows[mine]["kind"] == "final").any():
        there = sorted({f"{r.env} at {r.profile}" for r in rows[rows["kind"] == "final"].itertuples()})
        raise ValueError(f"no final rows of {env} at profile {profile}; there are {', '.join(there) or 'none'}")
    final_table(rows[mine])  # refuses two runs in one file
    return rows[mine]


def caption(rows):
    """Say how many seeds and battles are behind `rows` (of `choose`), for the line under a table or figure."""
    last = rows[rows["kind"] == "final"]
    seeds, battles = (
        "-".join(map(str, dict.fromkeys((int(x.min()), int(x.max())))))
        for x in (last.groupby([*SET, "algorithm"])["seed"].nunique(), last["episodes"])
    )
    return f"{last['env'].iloc[0].upper()}: {seeds} seeds, {battles} battles a seed, profile {last['profile'].iloc[0]}"


def name_sets(data_sets):
    """Data sets in a few words: [(map, level, ratio), ...] as "6h_vs_8z good, medium; corridor poor"."""
    levels = {}
    for name, level, _ in data_sets:
        levels.setdefault(name, []).append(level)
    return "; ".join(f"{name} {', '.join(of_map)}" for name, of_map in levels.items())


def prepare(rows, env="smax", profile="laptop", chosen=None):
    """Return the rows of one environment and profile, with `line`: the algorithm's name or, of an ablation, the variant's.

    chosen: the temperatures, as in `at_temperatures`. A data set's own row is kept whatever its profile: it is the same for all.
    Raises ValueError for an environment or a profile of which there is no row.
    """
    check_name("environment of these rows", env, dict.fromkeys(rows["env"]))
    check_name("profile of these rows", profile, dict.fromkeys(rows.loc[rows["kind"] != "data", "profile"]))
    rows = at_temperatures(rows, chosen)
    variant = rows["variant"].fillna("").replace("default", "")
    rows = rows.assign(line=variant.where(variant != "", rows["algorithm"]))
    return rows[(rows["env"] == env) & ((rows["profile"] == profile) | (rows["kind"] == "data"))]


def value_rows(rows):
    """Return the rows in which cells' values were logged as they were learned: kind value or, side by side with a policy, eval.

    Of cells that learn no values there are none.
    """
    rows = rows[rows["kind"].isin(["value", "eval"])]
    return rows.dropna(subset="q_tot") if "q_tot" in rows else rows[:0]

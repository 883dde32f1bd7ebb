"""Tidy rows -> tables: mean and standard deviation over seeds as in the paper (ddof 0, register 20), win rate beside every return."""

import pandas as pd

from omac.files import read_rows, write_csv
from omac.paths import ROOT, shown
from omac.schema import KEYS, LEVELS, NAMES, OFFLINE, PUBLISHED, SET, label

HEADLINE = [
    "map",
    "level",
    "ratio",
    "algorithm",
    "return",
    "win rate",
    "last five",
    "best",
    "seeds",
]  # columns that docs/ shows


def gather(folder, out=ROOT / "data" / "results.csv", names=None):
    """Join the cells' files of `folder`, in sorted order, into one; returns (path, [names that are not there yet]).

    names: the files that belong to the study, default all that are there. A data set's own row, which each of its
    cells carries, is kept once. Raises FileNotFoundError when there are none, ValueError, one line, for a file that is not
    as it was written or holds the rows of another cell than its name says.
    """
    names = sorted(names or (f.name for f in folder.glob("*.csv")))
    files = [folder / name for name in names if (folder / name).exists()]
    if not files:
        raise FileNotFoundError(f"no results in {folder}: run `make repro` first")
    rows = pd.concat([_rows_of_cell(f) for f in files], ignore_index=True)
    rows = rows[~((rows["kind"] == "data") & rows.duplicated([k for k in KEYS if k != "profile"]))]
    write_csv(rows, out)
    return out, [name for name in names if not (folder / name).exists()]


def _rows_of_cell(path):
    """The rows of a cell's file, named <source>-<map>-<level>-<ratio>-<algorithm>, with -<variant> behind it if there is one."""
    rows = read_rows(path)
    named = rows.astype(str)[[*SET, "algorithm"]].agg("-".join, axis=1)
    named += ("-" + rows["variant"].fillna("default")).replace("-default", "")
    own = path.stem.partition("-")[2]
    wrong = rows.index[(rows["kind"] != "data") & (named != own)]
    if len(wrong):
        raise ValueError(
            f"{shown(path)}, line {wrong[0] + 2}: a row of {named[wrong[0]]} under the name of {own}: a renamed or copied file, run the cell again"
        )
    return rows


def final_table(rows):
    """Return one line per data set, algorithm and temperature: data, BC, then the others; mean ± std over seeds, ddof 0.

    return, win rate: the last policy's, `final_episodes` battles (the headline); last five, best: return over the
    snapshots' shorter evaluations (register 19). Where a cell was not fought, for no simulator is here, its offline
    metrics (OFFLINE) stand beside, a column each. Raises ValueError for rows without these columns, and when a seed
    has two final rows: rows of two runs in one file.
    """
    missing = {*KEYS, "return_mean", "win_rate", "episodes"} - {"temperature", *rows}
    if missing:
        raise ValueError(f"these are no result rows: the columns {sorted(missing)} are missing")
    keys = ["env", "map", "level", "ratio", "algorithm", "variant", *temperature_of(rows)]
    rows = _named(rows).assign(profile=rows["profile"].where(rows["kind"] != "data", ""))
    last = rows[rows["kind"].isin(["data", "final"])]
    twice = last[last.duplicated([*keys, "profile", "seed"])]
    if len(twice):
        raise ValueError(
            f"two final rows for {twice.iloc[0][[*keys, 'profile', 'seed']].to_dict()}: rows of two runs in one file"
        )
    lines, metrics = [], {} if fought(rows) else OFFLINE
    for values, group in last.groupby([*keys, "profile"], sort=False):
        cell = dict(zip([*keys, "profile"], values, strict=True))
        of_cell = (
            rows[(rows[list(cell)] == pd.Series(cell)).all(axis=1) & (rows["kind"] == "eval")]
            .sort_values("step")
            .groupby("seed")["return_mean"]
        )
        lines.append(
            {
                **cell,
                "return": _spread(group["return_mean"]),
                "win rate": _spread(
                    group["win_rate"], "unknown" if group["return_mean"].notna().any() else "not fought"
                ),
                "last five": _spread(of_cell.apply(lambda x: x.tail(5).mean())),
                "best": _spread(of_cell.max()),
                **{name: _spread(group[c].dropna()) for c, name in metrics.items() if c in group},
                "seeds": group["seed"].nunique() or "",
                "episodes": int(group["episodes"].sum()),
            }
        )
    order = {name: i for i, name in enumerate(NAMES)}
    lines.sort(
        key=lambda x: (
            x["env"],
            x["map"],
            LEVELS.index(x["level"]) if x["level"] in LEVELS else 9,
            -x["ratio"],
            order.get(x["algorithm"], 9),
            x["algorithm"],
            x["variant"],
            x["profile"],
        )
    )
    return pd.DataFrame([{**x, "algorithm": label(x["algorithm"], x["variant"])} for x in lines])


def fought(rows):
    """Say whether the last policies of all cells have fought: False where a simulator was not here."""
    return bool((rows["episodes"][rows["kind"] == "final"] > 0).all())


def _spread(x, absent="not fought"):
    """ "mean ± std" over seeds; the mean alone of a single number; nothing of none; NaN is a cell without a simulator, or
    what `absent` says.
    """
    if not len(x):
        return ""
    if x.isna().all():
        return absent
    return f"{x.mean():.2f}" + (f" ± {x.std(ddof=0):.2f}" if len(x) > 1 else "")


def short(table):
    """Return the table without the columns that say the same in every line, for a terminal."""
    said = {c: table[c][table[c] != ""].nunique() for c in table}
    always = ("algorithm", "return", "win rate", *OFFLINE.values())
    return table[[c for c in table if c in always or said[c] > 1]]


def default_variant(rows):
    """Return the rows of no ablation."""
    return rows[rows["variant"].fillna("").isin(["", "default"])] if "variant" in rows else rows


def temperature_of(rows):
    """["temperature"] where rows have that column, else []: older rows were made at the published temperatures alone."""
    return ["temperature"] if "temperature" in rows else []


def _named(rows):
    """Rows with "" for no variant and no temperature."""
    return rows.assign(**{c: rows[c].astype(object).fillna("") for c in ("variant", *temperature_of(rows))})


def at_temperatures(rows, chosen=None):
    """Return the rows at the temperatures that were chosen for their algorithms; those of data sets and values have none and stay.

    Args:
        rows: tidy result rows.
        chosen: {algorithm: temperature}. Default, and for an algorithm that is not in it: the paper's own.
    """
    if not temperature_of(rows):
        return rows
    temperature = rows["temperature"].replace("", None).fillna(PUBLISHED)
    wanted = rows["algorithm"].map(chosen or {}).fillna(PUBLISHED)
    return rows[rows["temperature"].isna() | (rows["temperature"] == "") | (temperature == wanted)]


def crossing(rows):
    """Return one line per cell of the default variant that learns values: where do they cross the returns in the data?

    The step at which the mean of Q_tot first reaches the mean discounted return-to-go in the data; both, their correlation,
    the scale of w_q and the spread of exp(beta A) at the last step (for ICQ, of its softmax weights; nothing for an
    algorithm that weighs nothing). Means over seeds, at the published temperature.

    A crossing is no convergence: values may go on moving. Nor are values better for being nearer to these returns, which
    are the behaviour policies': those of a better policy lie above them.
    """
    lines = []
    rows = at_temperatures(default_variant(rows))
    columns = ["q_tot", "return_followed", "q_correlation", "w_q", "weight_std"]
    rows = rows[rows["kind"].isin(["value", "eval"])]
    rows = rows.reindex(columns=rows.columns.union(columns))  # BCQ and CQL weigh nothing
    for values, group in rows.groupby([*SET, "algorithm", "profile"], sort=False):
        mean = group.groupby("step")[columns].mean()
        spread, mean = mean["weight_std"].dropna(), mean[mean["q_tot"].notna()]
        if mean.empty:
            continue
        reached = mean.index[mean["q_tot"] >= mean["return_followed"]]
        end = mean.iloc[-1]
        lines.append(
            [
                *values[:3],
                NAMES.get(values[3], values[3]),
                values[4],
                f"{end['return_followed']:.2f}",
                int(reached[0]) if len(reached) else "never",
                f"{end['q_tot']:.2f} at {int(mean.index[-1])}",
                f"{end['q_correlation']:.2f}",
                f"{end['w_q']:.2f}",
                f"{spread.iloc[-1]:.2f}" if len(spread) else "",
            ]
        )
    return pd.DataFrame(
        lines,
        columns=[
            *SET,
            "algorithm",
            "profile",
            "return-to-go in the data",
            "Q_tot crosses it at step",
            "Q_tot at the end",
            "correlation",
            "w_q",
            "std of exp(beta A)",
        ],
    )


def weighing(rows):
    """Return one line per cell whose policy is cloning by weights, ablations too: how far do the weights leave 1, and what is won?

    Of the last snapshot: the spread of the weights (exp(beta A) of Eq. 8; ICQ's softmax), the scale of w_q and the
    log-likelihood (nats) of held-out actions; return and win rate of the last policy. Mean ± std over seeds, the most
    spread first.
    """
    if "weight_std" not in rows:
        return pd.DataFrame()
    rows, temperature = _named(rows), temperature_of(rows)
    last = rows[(rows["kind"] == "final") & rows["weight_std"].notna() & rows["held_log_likelihood"].notna()]
    columns = {
        "weight_std": "std of the weights",
        "w_q": "w_q",
        "held_log_likelihood": "log-likelihood",
        "return_mean": "return",
    }
    lines = []
    for values, group in last.groupby([*SET, "algorithm", "variant", "profile", *temperature], sort=False):
        found = {name: _spread(group[c]) for c, name in {**columns, "win_rate": "win rate"}.items()}
        found = dict(zip(temperature, values[6:], strict=True)) | found
        line = {**dict(zip(SET, values, strict=False)), "algorithm": label(*values[3:5]), **found}
        lines.append((values[:3], -group["weight_std"].mean(), line))
    return pd.DataFrame([line for *_, line in sorted(lines, key=lambda x: x[:2])])


def offline(rows):
    """Return one line per cell: what is known of its last networks without a simulator, on the held-out episodes.

    log-likelihood (nats) of the data's actions, share of agent-steps where the greedy action is the data's, TD error
    |target - Q_tot|, mean of Q_tot and of the discounted return that followed, their correlation. Mean ± std over seeds.
    """
    keys = ["env", "map", "level", "ratio", "algorithm", "variant", "profile", *temperature_of(rows)]
    lines = []
    for values, group in _named(rows[rows["kind"] == "final"]).groupby(keys, sort=False):
        cell = dict(zip(keys, values, strict=True))
        found = {label: _spread(group[name].dropna()) for name, label in OFFLINE.items() if name in group}
        lines.append({**cell, "algorithm": NAMES.get(cell["algorithm"], cell["algorithm"]), **found})
    return pd.DataFrame(lines)


def difference(rows, algorithm="omac", other="bc"):
    """Return one line per data set: return of `algorithm` minus that of `other`, seed by seed, last policies.

    Both fought the same battles with the same batches; mean ± std over seeds, ddof 0, and in how many seeds it is ahead.
    At the published temperatures.
    """
    keys = [*SET, "profile"]
    rows = at_temperatures(default_variant(rows))
    last = rows[rows["kind"] == "final"].set_index([*keys, "seed"])
    gap = last[last["algorithm"] == algorithm]["return_mean"] - last[last["algorithm"] == other]["return_mean"]
    lines = [
        [*values, _spread(x), f"{int((x > 0).sum())} of {len(x)}"]
        for values, x in gap.dropna().groupby(level=keys, sort=False)
    ]
    name = f"{NAMES[algorithm]} minus {NAMES[other]}"
    return pd.DataFrame(lines, columns=[*keys, name, "seeds ahead"])


def markdown(table):
    """Write a table as the lines of a Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [table.columns, *table.to_numpy().tolist()]]
    return "\n".join([lines[0], "|" + "---|" * len(table.columns), *lines[1:]])

"""Tidy rows -> tables: mean and standard deviation over seeds as in the paper (ddof 0, register 20), win rate beside every return."""

import pandas as pd

from omac.paths import ROOT
from omac.study import KEYS, write

NAMES = {"data": "data", "bc": "BC", "omac": "OMAC"}


def gather(folder, out=ROOT / "data" / "results.csv"):
    """Join all cells' files of `folder`, in sorted order, into one; returns (path, number of cells).

    A data set's own row, which each of its cells carries, is kept once. Raises FileNotFoundError when there are none.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise FileNotFoundError(f"no results in {folder}: run `make repro` first")
    rows = pd.concat([pd.read_csv(f) for f in files], ignore_index=True)
    rows = rows[~((rows["kind"] == "data") & rows.duplicated([k for k in KEYS if k != "profile"]))]
    write(rows, out)
    return out, len(files)


def final_table(rows):
    """One line per data set and algorithm: data, BC, then the others; return and win rate as mean ± std over seeds."""
    def line(group):
        data = group["kind"].iloc[0] == "data"
        spread = {"return": group["return_mean"], "win rate": group["win_rate"]}
        cells = {k: f"{v.mean():.2f}" + ("" if data else f" ± {v.std(ddof=0):.2f}") for k, v in spread.items()}
        return pd.Series({**cells, "seeds": "" if data else group["seed"].nunique(), "episodes": int(group["episodes"].sum())})

    last = rows[rows["kind"].isin(["data", "final"])].copy()
    last["algorithm"] = pd.Categorical(last["algorithm"], sorted(last["algorithm"].unique(), key=lambda a: (list(NAMES).index(a) if a in NAMES else 9, a)), ordered=True)
    keys = ["env", "map", "level", "ratio", "algorithm", "variant"]
    table = last.fillna({"variant": ""}).groupby(keys, observed=True, sort=True)[["kind", "seed", "episodes", "return_mean", "win_rate"]].apply(line).reset_index()
    table["algorithm"] = [NAMES.get(a, a) for a in table["algorithm"]]
    return table


def markdown(rows):
    """`final_table` as the lines of a Markdown table, for the README."""
    table = final_table(rows)[["map", "level", "algorithm", "return", "win rate", "seeds"]]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [table.columns, *table.to_numpy().tolist()]]
    return "\n".join([lines[0], "|" + "---|" * len(table.columns), *lines[1:]])

"""`python benchmarks/cells.py NAME...`: what whole cells took, as papermill timed them, added to benchmarks/cells.csv.

NAME: a cell's notebook in build/, such as train-corridor-good-omac. Name cells alone that ran from their first step to
their last in one go, two at a time on two cores: what a notebook cannot know. Other work beside them makes them slower.
"""

import json
import sys
from pathlib import Path

import pandas as pd

from omac.datasets.registry import DataSet
from omac.files import read_table
from omac.paths import BUILD, ROOT, atomic

OUT = Path(__file__).with_name("cells.csv")
KEYS = ["map", "level", "algorithm", "variant"]


def took(name):
    """A cell's row: data set, algorithm, variant, steps of the values, of the policies after them, seconds from papermill's
    start to its end. Steps of values and policies side by side count as the values'.

    Raises ValueError for a notebook that did not run to its end.
    """
    about = json.loads((BUILD / f"{name}.ipynb").read_text())["metadata"]["papermill"]
    if about.get("exception") or about.get("duration") is None:
        raise ValueError(f"build/{name}.ipynb did not run to its end: run its cell first")
    told = about["parameters"]
    wanted = DataSet.parse(told["dataset"])
    rows = read_table(ROOT / told["out"])
    last = rows.groupby("kind")["step"].max()
    together = rows.loc[rows["kind"] == "eval"].reindex(columns=["q_tot"])["q_tot"].notna().any()
    values, policies = last.get("value", 0), last["eval"]
    return {
        "map": wanted.map,
        "level": wanted.level,
        "algorithm": told["algorithm"],
        "variant": told.get("variant", "default"),
        "steps": int(policies if together else values),
        "policy_steps": int(0 if together else policies),
        "seconds": round(about["duration"]),
    }


def add(names, out=OUT):
    """Write the rows of `names` to `out`, in place of what it said of the same cells. Returns the table."""
    new = pd.DataFrame([took(name) for name in names])
    both = pd.concat([pd.read_csv(out), new]) if out.exists() else new
    table = both.drop_duplicates(KEYS, keep="last").sort_values(KEYS, kind="stable")
    with atomic(out) as part:
        table.to_csv(part, index=False, lineterminator="\n")
    return table


if __name__ == "__main__":
    print(add(sys.argv[1:]).to_string(index=False))

"""Does a cell diverge? Per cell the largest gradient norm, the scales of the weights, the loss, and a verdict by a stated rule."""

import numpy as np
import pandas as pd

from omac.analysis.results import temperature_of
from omac.schema import CELL, label

LARGEST = 20.0  # no episode returns more, on SMAC's scale: a mean of Q_tot beyond it stands for nothing
GROWTH = 100.0  # a loss is a square, and values rise about tenfold between the first snapshot and the last


def why(rows):
    """Say what is wrong with one seed of a cell, a list of column names, empty when nothing is.

    rows: its rows of kind eval. A column is named when one of its numbers is not finite (a gap between numbers counts
    too), when |mean Q_tot| exceeds LARGEST at some snapshot, and when a loss at the last snapshot exceeds GROWTH times
    its absolute value at the first one.
    """
    rows = rows.sort_values("step")
    logged = rows[[c for c in rows if c.startswith(("L_", "norm_")) or c in ("q_tot", "w_v", "w_q")]]
    logged = logged.loc[:, logged.notna().any()].astype(float)
    wrong = [c for c in logged if not np.isfinite(logged[c]).all()]
    if "q_tot" in logged and (logged["q_tot"].abs() > LARGEST).any():
        wrong.append("q_tot")
    wrong += [c for c in logged if c.startswith("L_") and logged[c].iloc[-1] > GROWTH * abs(logged[c].iloc[0])]
    return list(dict.fromkeys(wrong))


def stability(rows):
    """Return one line per cell: the largest gradient norm before clipping of any seed and network group, the largest mean w_v
    and w_q of a seed, the loss (L_Q; L_pi of a cell without values) at the first and last snapshot, mean over seeds,
    Q_tot at the last, and in how many seeds it diverged, by `why`.

    rows: rows of kind value and eval, of any cells; nothing stands where a cell has no such number. Values and each policy
    that is trained on them are looked at by themselves: they count their steps anew.
    """
    lines = []
    evals = rows[rows["kind"].isin(["value", "eval"])]
    evals = evals.assign(variant=evals["variant"].fillna("default"))
    parts = ["seed", "kind", *temperature_of(rows)]
    for values, group in evals.groupby(CELL[1:], sort=False):
        norms = group[[c for c in group if c.startswith("norm_") and c.endswith("_max")]].max().max()
        loss = "L_Q" if "L_Q" in group and group["L_Q"].notna().any() else "L_pi"
        mean = group.dropna(subset=loss).groupby("step").mean(numeric_only=True)
        found = {seed: [] for seed in group["seed"]}
        for (seed, *_), part in group.groupby(parts, dropna=False):
            found[seed] += why(part)
        bad = [x for x in found.values() if x]
        lines.append(
            {
                **dict(zip(CELL[1:], values, strict=True)),
                "algorithm": label(*values[3:5]),
                "largest norm": _number(norms),
                "largest w_v": _number(group["w_v"].max() if "w_v" in group else np.nan),
                "largest w_q": _number(group["w_q"].max() if "w_q" in group else np.nan),
                "loss": loss,
                "first": _number(mean[loss].iloc[0]),
                "last": _number(mean[loss].iloc[-1]),
                "Q_tot": _number(mean["q_tot"].iloc[-1] if "q_tot" in mean else np.nan),
                "diverged?": f"{len(bad)} of {len(found)}: {', '.join(sorted(set().union(*bad)))}" if bad else "no",
            }
        )
    return pd.DataFrame(lines)


def _number(x):
    return "" if pd.isna(x) else f"{x:.3g}"

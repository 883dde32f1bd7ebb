"""Do two runs of the same cells agree? Three words: same, within the interval over seeds, different."""

import numpy as np
import pandas as pd
from scipy import stats

from omac.analysis.statistics import LEVEL
from omac.schema import CELL, KEYS, PUBLISHED, label

SAME, WITHIN, DIFFERENT = "same", "within the interval over seeds", "different"


def compare_means(ours, theirs):
    """Say whether two samples of scores agree: SAME where equal number by number, else WITHIN where Welch's 95 % interval
    of the difference of their means holds 0, else DIFFERENT.

    ours, theirs  [runs], in the same order, in units of their score
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape == theirs.shape and np.array_equal(ours, theirs):
        return SAME
    if min(len(ours), len(theirs)) < 2:
        return DIFFERENT
    gap = ours.mean() - theirs.mean()
    each = [x.var(ddof=1) / len(x) for x in (ours, theirs)]
    if sum(each) == 0:
        return DIFFERENT if gap else SAME
    free = sum(each) ** 2 / sum(v**2 / (len(x) - 1) for v, x in zip(each, (ours, theirs), strict=True))
    return WITHIN if abs(gap) <= stats.t.ppf((1 + LEVEL) / 2, free) * np.sqrt(sum(each)) else DIFFERENT


def agreement(rows, reference):
    """Hold the last policies' returns against a reference's, a line per cell and temperature of `rows` that both have.

    SAME: every number of the cell's rows is equal, whatever machine is named. Of a cell that was not fought, the
    log-likelihood of held-out actions takes the place of the return. Returns a DataFrame with both means ± std
    over seeds (ddof 0) and the word. Raises ValueError when the two have no cell in common.
    """
    lines = []
    here, there = _policies(rows), _policies(reference)
    for key, ours in here.items():
        if key not in there:
            continue
        theirs = there[key]
        finals = [x.loc[x["kind"] == "final"].sort_values("seed") for x in (ours, theirs)]
        absent = all(x["return_mean"].isna().all() and "held_log_likelihood" in x for x in finals)
        finals = [x["held_log_likelihood" if absent else "return_mean"] for x in finals]
        word = SAME if _equal(ours, theirs) else compare_means(*finals).replace(SAME, WITHIN)  # equal at the end alone
        *cell, temperature = key
        name = dict(zip(CELL, cell, strict=True))
        algorithm = label(name["algorithm"], name["variant"]) + ("" if temperature == PUBLISHED else f", {temperature}")
        means = [f"{x.mean():.2f} ± {x.std(ddof=0):.2f}{' (log-likelihood)' * absent}" for x in finals]
        lines.append([name["map"], name["level"], algorithm, *means, word])
    if not lines:
        raise ValueError(
            "the two files of rows have no cell in common: compare runs of one data set, algorithm and profile"
        )
    return pd.DataFrame(
        lines, columns=["map", "level", "algorithm", "return here", "return of the reference", "agreement"]
    )


def _policies(rows):
    """{(cell, temperature): its rows}, those of its values, which have no temperature, among them."""
    rows = rows[rows["kind"] != "data"].fillna({"variant": ""})
    if "temperature" not in rows:  # older rows
        rows = rows.assign(temperature=PUBLISHED)
    found = {}
    for cell, x in rows.groupby(CELL, sort=False):
        for name in x.loc[x["kind"] == "final", "temperature"].unique():
            found[*cell, name] = x[x["temperature"].isna() | x["temperature"].isin(["", name])]
    return found


def _equal(a, b):
    """Whether two tables hold the same numbers, the machine's name aside."""
    a, b = (x.drop(columns="machine", errors="ignore").sort_index(axis=1).sort_values([*KEYS]) for x in (a, b))
    return list(a) == list(b) and a.reset_index(drop=True).equals(b.reset_index(drop=True))

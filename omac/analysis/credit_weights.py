"""Figure 4 in numbers: how w_v goes with the mean of w_q, from committed pairs."""

import numpy as np
import pandas as pd

from omac.paths import ROOT
from omac.schema import DISTRIBUTIONS


def path_of(dataset, folder=ROOT / "data"):
    """data/weights/<dataset>.csv."""
    return folder / "weights" / f"{dataset}.csv"


def correlations(table):
    """Say how w_v goes with the mean of w_q: Pearson's and Spearman's coefficient for each variant, distribution and seed.

    `agent` is Pearson's coefficient within one agent, averaged over agents: agents that differ in the mean of both
    weights raise the other two. Then two lines over all seeds: "pooled", and "scaled", where each seed's weights are first
    divided by their mean, because the scale of w_q is not identified.
    """
    columns = ["w_v", *(x for x in DISTRIBUTIONS if x in table)]
    scaled = table.assign(**table[columns] / table.groupby(["variant", "seed"])[columns].transform("mean"))
    lines = []
    for variant, part in table.groupby("variant", sort=False):
        groups = {str(seed): group for seed, group in part.groupby("seed")}
        groups |= {"pooled": part, "scaled": scaled.loc[part.index]}
        for x in columns[1:]:
            for name, group in groups.items():
                each = [g["w_v"].corr(g[x]) for _, g in group.groupby(["seed", "agent"])]
                both = [group["w_v"].corr(group[x], method=m) for m in ("pearson", "spearman")]
                lines.append([variant, x, name, *both, np.mean(each)])
    return pd.DataFrame(lines, columns=["variant", "a_i", "seed", "pearson", "spearman", "agent"])

"""Figure 4: the density of the credit weights."""

import numpy as np
import seaborn as sns

from omac.plots.style import COLOURS, grid
from omac.schema import DISTRIBUTIONS, LABEL

DENSITY = {"fill": True, "levels": 8, "gridsize": 60}


def weights(pairs, title):
    """Figure 4: density of w_v_i(o) and the mean of w_q_i(o, a) over a_i; a row for each variant, a column for each choice of a_i.

    pairs: rows of `weights.sample` (variant, seed, w_v and a column for each distribution). Each seed's weights are
    divided by their mean, so that seeds of different scale lie on one another: 1 is the seed's mean.
    """
    variants = list(dict.fromkeys(pairs["variant"]))
    columns = [x for x in DISTRIBUTIONS if x in pairs]
    means = pairs.groupby(["variant", "seed"])[["w_v", *columns]].transform("mean")
    relative = pairs[["w_v", *columns]] / means
    high = relative.quantile(0.99).max()
    figure, axes = grid([2.3] * len(variants), len(columns), 7.2)
    for line, variant in zip(axes, variants, strict=True):
        part = pairs[pairs["variant"] == variant]
        colour = COLOURS["omac" if variant == "default" else variant]
        for ax, column in zip(line, columns, strict=True):
            sns.kdeplot(relative.loc[part.index], x="w_v", y=column, ax=ax, color=colour, clip=(0, high), **DENSITY)
            r = [g["w_v"].corr(g[column]) for _, g in part.groupby("seed")]
            ax.set_title(f"{LABEL[variant]}: r = {np.mean(r):.2f} ± {np.std(r):.2f}", fontsize=9)
            ax.set(xlim=(0, high), ylim=(0, high), xlabel="", ylabel="")
    for ax, column in zip(axes[-1], columns, strict=True):
        ax.set_xlabel(f"$a_i$: {DISTRIBUTIONS[column]}", fontsize=8)
    figure.supxlabel("$w^v_i(o)$ / mean of the seed", fontsize=9)
    figure.supylabel("$E_{a_i}[w^q_i(o, a)]$ / mean of the seed", fontsize=9)
    states = pairs.groupby(["variant", "seed"]).size()
    figure.suptitle(f"{title}, {states.max()} held-out states for each of {pairs['seed'].nunique()} seeds", fontsize=9)
    return figure

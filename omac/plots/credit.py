"""Figure 4: the density of the credit weights."""

import numpy as np
import seaborn as sns

from omac.plots.style import COLOURS, PAGE, TEXT, grid
from omac.schema import DISTRIBUTIONS, LABEL

DENSITY = {"fill": True, "levels": 8, "gridsize": 60}


def correlation(pairs, column):
    """Format Pearson's r of w_v and a column, mean ± std over seeds."""
    r = [g["w_v"].corr(g[column]) for _, g in pairs.groupby("seed")]
    return f"r = {np.mean(r):.2f} ± {np.std(r):.2f}"


def weights(pairs, title):
    """Draw Figure 4: the density of w_v_i(o) and the mean of w_q_i(o, a) over a_i, a panel for each variant.

    The panels show a_i as in the data. w_q hardly moves with the agent's own action, so the other choices of a_i would
    be the same picture: of these each panel names Pearson's r.

    Args:
        pairs: rows of `weights.sample` (variant, seed, w_v and a column for each distribution). Each seed's weights are
            divided by their mean, so that seeds of different scale lie on one another: 1 is the seed's mean.
        title: of the figure.
    """
    variants = list(dict.fromkeys(pairs["variant"]))
    columns = [x for x in DISTRIBUTIONS if x in pairs]
    means = pairs.groupby(["variant", "seed"])[["w_v", *columns]].transform("mean")
    relative = pairs[["w_v", *columns]] / means
    high = relative.quantile(0.99).max()
    figure, axes = grid([2.6], len(variants), PAGE)
    for ax, variant in zip(axes[0], variants, strict=True):
        part = pairs[pairs["variant"] == variant]
        colour = COLOURS["omac" if variant == "default" else variant]
        sns.kdeplot(relative.loc[part.index], x="w_v", y=columns[0], ax=ax, color=colour, clip=(0, high), **DENSITY)
        ax.set_title(f"{LABEL[variant]}: {correlation(part, columns[0])}", fontsize=9)
        ax.set(xlim=(0, high), ylim=(0, high), xlabel="", ylabel="")
        others = "\n".join(f"{DISTRIBUTIONS[x]}: {correlation(part, x)}" for x in columns[1:])
        ax.text(0.03, 0.97, others, ha="left", va="top", transform=ax.transAxes, **TEXT)
    figure.supxlabel("$w^v_i(o)$ / mean of the seed", fontsize=9)
    figure.supylabel("$E_{a_i}[w^q_i(o, a)]$ / mean of the seed", fontsize=9)
    states = pairs.groupby(["variant", "seed"]).size()
    figure.suptitle(f"{title}, {states.max()} held-out states for each of {pairs['seed'].nunique()} seeds", fontsize=9)
    return figure

"""What the paper's own tables say of its claims, and others' numbers on the same data: (how many, of how many, in words)."""

from functools import partial

import pandas as pd
from scipy.stats import ttest_ind_from_stats

from omac.analysis.paper_tables import published
from omac.claims.evidence import ABLATED, BASELINES, LEVEL, name_set
from omac.config.hyper import load_params
from omac.schema import NAMES, SET


def numbers(name):
    """Return a table of the paper or "elsewhere": means and stds [data set, algorithm]; elsewhere's OMAC is the paper's."""
    table = published(name)
    if name == "elsewhere":
        table = pd.concat([table, published("table4").query("algorithm == 'omac'")])
    table = table.astype({"ratio": int}).set_index([*SET, "algorithm"])[["mean", "std"]]
    wide = table.apply(pd.to_numeric).unstack(sort=False)
    return wide["mean"].dropna(subset=["omac", *BASELINES]), wide["std"]


def _clear(mean, std, seeds=5):
    """Table [data set, baseline]: is OMAC above it by Welch's test at LEVEL, from the printed mean ± std of `seeds`?

    The printed std has ddof 0 (register 20), the test asks for ddof 1.
    """
    std = std * (seeds / (seeds - 1)) ** 0.5
    p = {
        a: ttest_ind_from_stats(mean["omac"], std["omac"], seeds, mean[a], std[a], seeds, False, "greater").pvalue
        for a in BASELINES
    }
    return pd.DataFrame(p, mean.index) < (1 - LEVEL) / 2


def highest(name="table4", maps=None):
    """6.2, 6.3: the data sets where OMAC's mean is the highest of the five, and where it is clearly so; odd prints too."""
    mean, std = numbers(name)
    mean = mean[mean.index.isin(maps, level="map")] if maps else mean
    above = mean["omac"] > mean[BASELINES].max(axis=1)
    clear = _clear(mean, std.loc[mean.index]).all(axis=1)
    words = f"highest mean on {above.sum()} of {len(mean)} data sets, clearly above all four (Welch) on {clear.sum()}"
    if not above.all():
        words += "; not on " + ", ".join(name_set(d) for d in mean.index[~above])
    decimals = published(name)["mean"].str.split(".").str[-1].str.len()
    odd = published(name)["mean"][decimals != decimals.mode()[0]].tolist()
    return int(above.sum()), len(mean), words + (f"; printed oddly: {', '.join(odd)}" if odd else "")


def others():
    """Others' numbers of the four baselines on the paper's data: in words, where the paper's OMAC is above them all."""
    mean, _ = numbers("elsewhere")
    above = mean["omac"] > mean[BASELINES].max(axis=1)
    return f"with others' baselines, highest on {above.sum()} of {len(mean)}"


def outperforms():
    """Abstract: the baselines above which OMAC's mean is on more than half of the data sets of Table 4."""
    mean, std = numbers("table4")
    ahead, clear = mean[BASELINES].lt(mean["omac"], axis=0).sum(), _clear(mean, std).sum()
    words = ", ".join(f"{NAMES[a]} on {ahead[a]} (clearly on {clear[a]})" for a in BASELINES)
    return (
        int((ahead > len(mean) / 2).sum()),
        len(BASELINES),
        f"of {len(mean)} data sets, mean above {words}; {others()}",
    )


def most():
    """1, 6.2: is OMAC's mean the highest on more than half of the data sets of Table 4?"""
    above, of, words = highest()
    return int(above > of / 2), 1, f"{words}; {others()}"


def drop():
    """6.3: comparisons, of share of the data and baseline in Table 1, where OMAC's loss, mean of levels, is the smaller one;
    in words those of each level too.
    """
    mean = numbers("table1")[0].loc[ABLATED]
    lines, smaller = [], 0
    for ratio in (50, 10):
        loss = mean.xs(100, level="ratio") - mean.xs(ratio, level="ratio")
        smaller += int((loss[BASELINES].mean() > loss["omac"].mean()).sum())
        lines += [(f"{level} {ratio} % {NAMES[a]}", x[a], x["omac"]) for level, x in loss.iterrows() for a in BASELINES]
    worse = [f"{what} ({loss:.2f} against OMAC's {ours:.2f})" for what, loss, ours in lines if loss <= ours]
    words = f"smaller mean loss of the levels in {smaller} of {2 * len(BASELINES)} comparisons"
    words += f", level by level in {len(lines) - len(worse)} of {len(lines)}"
    return smaller, 2 * len(BASELINES), words + ("; not against " + ", ".join(worse) if worse else "")


def quality():
    """A.3: of the data sets with the lower beta, those whose mean return (OG-MARL's cards) tops the others' of their level."""
    data = published("elsewhere").query("algorithm == 'data'").set_index(["map", "level"])["mean"].astype(float)
    lower = [
        tuple(x.rsplit("-", 1)) for x in load_params()["table_2"]["Temperature parameter beta, lower"]["data sets"]
    ]
    rest = data.drop(lower, errors="ignore").groupby("level")
    known = [d for d in lower if d in data]
    words = [f"{' '.join(d)} {data[d]:.2f} (others up to {rest.max()[d[1]]:.2f})" for d in known]
    words += [f"no number for {name_set((*d, 100))}" for d in lower if d not in data]
    return sum(data[d] > rest.max()[d[1]] for d in known), len(known), f"mean return of the data: {'; '.join(words)}"


def _both(first, second):
    return first[0] + second[0], first[1] + second[1], f"{first[2]}; {second[2]}"


PRINTED = {  # of the tests of omac/claims.py whose claims the paper's tables speak of
    "outperforms": outperforms,
    "consistently": highest,
    "consistently on super hard maps": partial(highest, maps=("6h_vs_8z", "corridor")),
    "consistently with less data": partial(highest, "table1"),
    "most": most,
    "drop": drop,
    "outperforms, and drop": lambda: _both(outperforms(), drop()),
    "quality": quality,
}

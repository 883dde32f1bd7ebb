"""What a verdict rests on: a Study's rows by data set and seed, and Parts, statistics with an interval and the bar of a claim."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from omac.analysis.paper_tables import published
from omac.analysis.statistics import LEVEL, interval, mean_std
from omac.schema import SET

BASELINES = ["icq", "omar", "bcq", "cql"]  # the paper's four
ABLATED = "6h_vs_8z"  # the map of 6.4

CHANCE = 0.5  # P(improvement), and a share of data sets that is "most": above it
CLOSE = 0.5  # points: "close" is within, "much better" beyond; no spread over seeds in Table 1 is wider than 0.52
RARE = 0.01  # share of states: Eq. (1) may be broken in one of a hundred and still count as holding
P, POINTS, R, SHARE = "probability", "points of return", "Pearson's r", "share"


class Study(NamedTuple):
    """Prepared rows (`study_figures.prepare`) of one environment and profile, and the level at which parts are ablated."""

    rows: pd.DataFrame
    env: str
    level: str


class Part(NamedTuple):
    """One statistic of a claim, its 95 % interval, and the side of `bar` where the claim puts it: above, below or within ±.

    only: "for" or "against" when the statistic can speak no other way: a lower bound below a bar proves nothing.
    """

    what: str
    unit: str
    value: float
    low: float
    high: float
    bar: float
    side: str
    only: str = ""

    @property
    def says(self):
        """ "for" when the interval is on the claimed side, "against" when it is on the other; else, or not `only`, "open"."""
        if self.side == "within":
            inside, outside = max(-self.low, self.high) <= self.bar, max(self.low, -self.high) > self.bar
        else:
            above, below = self.low > self.bar, self.high < self.bar
            inside, outside = (above, below) if self.side == "above" else (below, above)
        said = "for" if inside else "against" if outside else "open"
        return said if self.only in ("", said) else "open"


def part(what, unit, statistic, groups, bar=0.0, side="above", only=""):
    """A Part: `statistic` of groups of scores and its stratified bootstrap (`statistics.interval`)."""
    low, high = interval(statistic, *groups, level=LEVEL)
    return Part(what, unit, float(statistic(*groups)), float(low), float(high), bar, side, only)


def least(what, gaps, bar=0.0, side="above", only=""):
    """A Part: the least mean of `gaps`, differences [seeds] in points of one data set, by Student's t.

    Its interval lies above the bar when that of every difference does, and below it when that of one does at a level that
    keeps LEVEL for all of them together (Bonferroni): held against the best of them alone, which is best by chance too, an
    equal would be found behind far more often.
    """
    means = np.array([g.mean() for g in gaps])
    errors = np.array([g.std(ddof=1) / np.sqrt(len(g)) if len(g) > 1 else np.nan for g in gaps])
    miss, free = (1 - LEVEL) / 2, np.array([len(g) - 1 for g in gaps])
    low = (means - stats.t.isf(miss, free) * errors).min()
    high = (means + stats.t.isf(miss / len(gaps), free) * errors).min()
    return Part(what, POINTS, float(means.min()), float(low), float(high), bar, side, only)


def so_far(have, wanted, missing, found):
    """([Part], what it waits for) of a Part `found` on data sets `have` of `wanted`: a mean of numbers in [0, 1].

    A data set that is missing may be 0 or 1, so that the interval widens by both; where it is decided all the same,
    nothing is waited for.
    """
    known = len(have) / len(wanted)
    found = found._replace(low=found.low * known, high=found.high * known + (1 - known))
    return [found], missing if found.says == "open" else []


def mean_of_means(tasks):
    """Mean over tasks of the means over seeds; keeps leading axes, as `statistics.interval` asks."""
    return mean_std(tasks)[0].mean(0)


def data_sets(name):
    """[(map, level, ratio), ...] of Table 1 or 4 ("table1", "table4"), in its order."""
    lines = published(name)[SET].drop_duplicates().astype({"ratio": int})
    return list(lines.itertuples(index=False, name=None))


def scores(study, column="return_mean"):
    """{data set: table [seed, line]} of a column of the last policies' rows; only numbers that are there."""
    if column not in study.rows:
        return {}
    last = study.rows[study.rows["kind"] == "final"].dropna(subset=[column])
    return {d: x.pivot(index="seed", columns="line", values=column) for d, x in last.groupby(SET)}


def complete(found, wanted, lines):
    """({data set: table of the seeds that all `lines` have}, [(data set, line) that has none])."""
    missing = [(d, a) for d in wanted for a in lines if a not in found.get(d, ()) or found[d][a].isna().all()]
    out = {d for d, _ in missing}
    have = {d: found[d][list(lines)].dropna() for d in wanted if d not in out}
    missing += [(d, a) for d, x in have.items() if x.empty for a in lines[1:]]  # no seed in common
    return {d: x for d, x in have.items() if len(x)}, missing


def name_set(data_set):
    """ "6h_vs_8z good", with the ratio where it is not 100 %."""
    return " ".join(data_set[:2]) + ("" if data_set[2] == 100 else f" {data_set[2]} %")

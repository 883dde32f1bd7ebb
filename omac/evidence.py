"""What a verdict rests on: a Study's rows by data set and seed, and Parts, statistics with an interval and the bar of a claim."""

from typing import NamedTuple

import pandas as pd

from omac.statistics import interval, mean_std
from omac.tables import published

BASELINES = ["icq", "omar", "bcq", "cql"]  # the paper's four
KEYS = ["map", "level", "ratio"]
ABLATED = "6h_vs_8z"  # the map of 6.4

CHANCE = 0.5  # P(improvement), and a share of data sets that is "most": above it
CLOSE = 0.5  # points: "close" is within, "much better" beyond; no spread over seeds in Table 1 is wider than 0.52
RARE = 0.01  # share of states: Eq. (1) may be broken in one of a hundred and still count as holding
LEVEL = 0.95  # of all intervals
P, POINTS, R, SHARE = "probability", "points of return", "Pearson's r", "share"


class Study(NamedTuple):
    """Prepared rows (`study_figures.prepare`) of one environment and profile, and the level at which parts are ablated."""

    rows: pd.DataFrame
    env: str
    level: str


class Part(NamedTuple):
    """One statistic of a claim, its 95 % interval, and the side of `bar` where the claim puts it: above, below or within ±."""

    what: str
    unit: str
    value: float
    low: float
    high: float
    bar: float
    side: str

    @property
    def says(self):
        """ "for" when the interval is on the claimed side, "against" when it is on the other, "open" when it is on both."""
        if self.side == "within":
            inside, outside = max(-self.low, self.high) <= self.bar, max(self.low, -self.high) > self.bar
        else:
            above, below = self.low > self.bar, self.high < self.bar
            inside, outside = (above, below) if self.side == "above" else (below, above)
        return "for" if inside else "against" if outside else "open"


def part(what, unit, statistic, groups, bar=0.0, side="above"):
    """A Part: `statistic` of groups of scores and its stratified bootstrap (`statistics.interval`)."""
    low, high = interval(statistic, *groups, level=LEVEL)
    return Part(what, unit, float(statistic(*groups)), float(low), float(high), bar, side)


def mean(tasks):
    """Mean over tasks of the means over seeds; keeps leading axes, as `statistics.interval` asks."""
    return mean_std(tasks)[0].mean(0)


def data_sets(name):
    """[(map, level, ratio), ...] of Table 1 or 4 ("table1", "table4"), in its order."""
    lines = published(name)[KEYS].drop_duplicates().astype({"ratio": int})
    return list(lines.itertuples(index=False, name=None))


def scores(study, column="return_mean"):
    """{data set: table [seed, line]} of a column of the last policies' rows; only numbers that are there."""
    if column not in study.rows:
        return {}
    last = study.rows[study.rows["kind"] == "final"].dropna(subset=[column])
    return {d: x.pivot(index="seed", columns="line", values=column) for d, x in last.groupby(KEYS)}


def complete(found, wanted, lines):
    """({data set: table of the seeds that all `lines` have}, [(data set, line) that has none])."""
    missing = [(d, a) for d in wanted for a in lines if a not in found.get(d, ()) or found[d][a].isna().all()]
    out = {d for d, _ in missing}
    have = {d: found[d][list(lines)].dropna() for d in wanted if d not in out}
    missing += [(d, a) for d, x in have.items() if x.empty for a in lines[1:]]  # no seed in common
    return {d: x for d, x in have.items() if len(x)}, missing


def named(data_set):
    """ "6h_vs_8z good", with the ratio where it is not 100 %."""
    return " ".join(data_set[:2]) + ("" if data_set[2] == 100 else f" {data_set[2]} %")

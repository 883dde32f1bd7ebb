"""What a verdict rests on: rows by data set and seed, and statistics with an interval and the bar of a claim."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from omac.analysis.paper_tables import published
from omac.analysis.statistics import LEVEL, interval, least_mean
from omac.schema import SET

BASELINES = ["icq", "omar", "bcq", "cql"]  # the paper's four
ABLATED = "6h_vs_8z"  # the map of 6.4

CHANCE = 0.5  # P(improvement), and a share of data sets that is "most": above it
CLOSE = 0.5  # points: "close" is within, "much better" beyond; no spread over seeds in Table 1 is wider than 0.52
MOST_SEEDS = 100  # that `seeds_needed` looks ahead
NEGLIGIBLE = 0.005  # points at each state: over the 100 steps that a discount of 0.99 looks ahead they add up to CLOSE
P, POINTS, R, SHARE, STD_RATIO = "probability", "points of return", "Pearson's r", "share", "ratio of stds over seeds"


class Study(NamedTuple):
    """The rows of one environment and profile.

    Attributes:
        rows: as analysis.select.prepare returns them.
        env: the environment.
        level: at which parts of OMAC are ablated.
    """

    rows: pd.DataFrame
    env: str
    level: str


class Part(NamedTuple):
    """One statistic of a claim.

    Attributes:
        what, unit: its name and unit.
        value, low, high: the statistic and its 95 % interval.
        bar, side: where the claim puts it: "above" or "below" the bar, or "within" ± the bar.
        only: the only outcome that this statistic can support, "for" or "against", or "" for both. Example: a lower
            bound can refute a claim but never support it.
        seeds: how many the interval rests on, on the data set that has fewest.
    """

    what: str
    unit: str
    value: float
    low: float
    high: float
    bar: float
    side: str
    only: str = ""
    seeds: int = 0

    @property
    def can_decide(self):
        """Whether more seeds could: not where the statistic lies on the side that it has no say on."""
        return not self.only or self._replace(low=self.value, high=self.value).says == self.only

    @property
    def says(self):
        """Say where the interval is: "for" on the claimed side, "against" on the other, else, or if not `only`, "open"."""
        above, below = self.low > self.bar, self.high < self.bar
        if self.side == "within":
            claimed = max(-self.low, self.high) <= self.bar
            refuted = max(self.low, -self.high) > self.bar
        elif self.side == "above":
            claimed, refuted = above, below
        else:
            claimed, refuted = below, above
        said = "open"
        if claimed:
            said = "for"
        elif refuted:
            said = "against"
        return said if self.only in ("", said) else "open"


def part(what, unit, statistic, groups, bar=0.0, side="above", only="", repetitions=0):
    """Make a Part of a statistic of groups of scores, with its interval over seeds (`statistics.interval`).

    Args:
        what, unit, bar, side, only: as in Part.
        statistic, groups: as `interval` takes them.
        repetitions: of a studentized bootstrap, for scores that are skewed.
    """
    low, high = interval(statistic, *groups, level=LEVEL, repetitions=repetitions)
    seeds = min(np.shape(task)[-1] for group in groups for task in group)
    return Part(what, unit, float(statistic(*groups)), float(low), float(high), bar, side, only, seeds)


def least(what, gaps, bar=0.0, side="above", only=""):
    """Make a Part of the least mean of several differences, by Student's t.

    Its interval lies above the bar when that of every difference does. It lies below the bar when that of one difference
    does, at a level that keeps LEVEL for all of them together (Bonferroni). Held against the best baseline alone, which is
    best by chance too, an OMAC that is equal would be found behind far more often.

    Args:
        what, bar, side, only: as in Part.
        gaps: differences [seeds], in points, each on one data set.
    """
    value, low, high = least_mean(gaps, (1 - LEVEL) / 2)
    return Part(what, POINTS, float(value), float(low), float(high), bar, side, only, min(map(len, gaps)))


def seeds_needed(part):
    """Estimate how many seeds would bring the interval of a Part to one side of its bar, if its value stayed where it is.

    The interval is taken to narrow as one of Student's t does, by the root of the number of seeds and by the quantile.
    Returns None where MOST_SEEDS would not.
    """
    if part.says != "open":
        return part.seeds
    now = stats.t.isf((1 - LEVEL) / 2, part.seeds - 1) / np.sqrt(part.seeds)
    for seeds in range(part.seeds + 1, MOST_SEEDS + 1):
        narrow = stats.t.isf((1 - LEVEL) / 2, seeds - 1) / np.sqrt(seeds) / now
        low, high = (part.value + narrow * (end - part.value) for end in (part.low, part.high))
        if part._replace(low=low, high=high).says != "open":
            return seeds
    return None


def so_far(have, wanted, missing, found, largest=1.0):
    """Widen the interval of a mean over data sets by those that are missing: each may be 0 or `largest`, and none is below 0.

    Args:
        have, wanted: the data sets that are there, and all.
        missing: [(data set, line)].
        found: the Part on those that are there.
        largest: the largest number that a data set may have.
    Returns:
        ([Part], what it waits for): nothing, where it is decided all the same.
    """
    known = len(have) / len(wanted)
    found = found._replace(
        low=max(found.low, 0.0) * known, high=min(found.high, largest) * known + largest * (1 - known)
    )
    return [found], missing if found.says == "open" else []


def mean_of_means(tasks):
    """Average the means over seeds of all tasks. Leading axes are kept, as `statistics.interval` asks."""
    return np.mean([np.mean(x, axis=-1) for x in tasks], axis=0)


def data_sets(name):
    """List the data sets of Table 1 or 4 ("table1", "table4"), [(map, level, ratio), ...], in its order."""
    lines = published(name)[SET].drop_duplicates().astype({"ratio": int})
    return list(lines.itertuples(index=False, name=None))


def scores(study, column="return_mean"):
    """Return {data set: table [seed, line]} of a column of the last policies' rows, without rows that lack it."""
    if column not in study.rows:
        return {}
    last = study.rows[study.rows["kind"] == "final"].dropna(subset=[column])
    return {d: x.pivot(index="seed", columns="line", values=column) for d, x in last.groupby(SET)}


def complete(found, wanted, lines):
    """Keep the data sets that have rows of all lines.

    Args:
        found: {data set: table [seed, line]}, as `scores` returns it.
        wanted: data sets.
        lines: names of lines. Of each data set the seeds count that all of them have.
    Returns:
        ({data set: table [seed, line] without gaps}, [(data set, line) that is missing]). Where lines have no seed in
        common, all but the first are missing.
    """
    have, missing, unpaired = {}, [], []
    for data_set in wanted:
        table = found.get(data_set, pd.DataFrame())
        absent = [line for line in lines if line not in table or table[line].isna().all()]
        if absent:
            missing += [(data_set, line) for line in absent]
            continue
        shared = table[list(lines)].dropna()
        if shared.empty:
            unpaired += [(data_set, line) for line in lines[1:]]
        else:
            have[data_set] = shared
    return have, missing + unpaired


def name_set(data_set):
    """Name a data set, "6h_vs_8z good", with the ratio where it is not 100 %."""
    return " ".join(data_set[:2]) + ("" if data_set[2] == 100 else f" {data_set[2]} %")

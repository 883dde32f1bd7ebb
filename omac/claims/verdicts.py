"""The verdict on each claim of data/paper/claims.csv, by stated rules, from committed rows and printed numbers."""

from collections import Counter
from typing import NamedTuple

import pandas as pd

from omac.analysis import select
from omac.analysis.paper_tables import published
from omac.analysis.results import final_table
from omac.analysis.select import prepare
from omac.claims.criteria import TESTS
from omac.claims.evidence import CHANCE, CLOSE, LEVEL, NEGLIGIBLE, Study
from omac.claims.paper_numbers import PRINTED
from omac.paths import ROOT
from omac.schema import LEVELS

HOLDS, PARTLY, FAILS = "holds", "holds in part", "does not hold"
UNDECIDED, CANNOT, NOT_RUN = "undecided", "cannot be tested here", "not run yet"
WORDS = [HOLDS, PARTLY, FAILS, UNDECIDED, CANNOT, NOT_RUN]


class Verdict(NamedTuple):
    """A claim (a line of claims.csv, a Series), the word on it, its Parts, what is missing, and the paper's own numbers."""

    claim: pd.Series
    word: str
    parts: list
    missing: list
    printed_word: str
    printed: str


def rules():
    """Return the thresholds, in words: one line each."""
    return [
        f"interval: {100 * LEVEL:g} %, over seeds; a statistic counts when the whole interval is on one side of its bar",
        "  each kind of interval holds the truth at least 92 times in a hundred at five seeds, in a simulation of normal and of skewed scores",
        "  differences seed by seed, and their means over data sets: Student's t, Welch and Satterthwaite's degrees of freedom",
        "  of several lines the least difference counts, its upper end by Bonferroni's level",
        "  probability: Wilson's, of as many independent pairs of runs as there are seeds and data sets",
        "  share of data sets: from those where it is surely so to those where it may be, Student's t, Bonferroni over data sets",
        "  r: Student's t of Fisher's z; ratio of two stds over seeds: Student's t of its logarithm, error by jackknife (Miller)",
        "  what Eq. (1) loses: studentized bootstrap, because it is skewed",
        "  what is over data sets widens as if a missing one were the least, and the most, that it can be",
        f"probability that a run returns more, and share of data sets: bar {CHANCE}",
        f"difference: bar 0; 'close' is within ±{CLOSE} points of return, 'much better' beyond {CLOSE}",
        "ratio of two stds over seeds: bar 1",
        f"Q_tot that one agent can gain by leaving its greedy action, Eq. (1): bar {NEGLIGIBLE:g} points, mean over states;",
        f"  at 100 steps, as far as a discount of 0.99 looks ahead, that adds up to {CLOSE} points",
        "values: Q_tot where episodes begin against the discounted return of the same run's own battles, never the data's returns;",
        "  above it they are overestimated; that they have stopped moving, or crossed the data's returns, is no evidence",
    ]


def decide(parts, missing, citations=()):
    """Return the word on a claim from its Parts, from what is missing, and from `cited`, which counts as a Part for each way it says.

    All parts as claimed: holds, in part while something is missing. Some: holds in part. None, and at least one the
    other way: does not hold. Nothing decided: not run yet when something is missing; undecided where more seeds could
    decide a part; else it cannot be tested.
    """
    says = Counter([*(p.says for p in parts), *citations])
    if says["for"]:
        return HOLDS if says["for"] == says.total() and not missing else PARTLY
    if says["against"]:
        return FAILS
    if missing:
        return NOT_RUN
    return UNDECIDED if any(p.can_decide for p in parts) else CANNOT


def by_count(how_many, of):
    """Return the word on a claim of which `how_many` of `of` printed comparisons are as claimed."""
    return HOLDS if how_many == of else PARTLY if how_many else FAILS


def cited(claim):
    """Say what tests and notebooks say of a claim: "for" by those that show it, "against" by those that break it, in a list.

    shown_by, broken_by: "file: words; ...", files relative to the checkout. Raises ValueError when a file does not hold
    its words, or nothing is cited for a claim of theory.
    """
    found = []
    for column, says in (("shown_by", "for"), ("broken_by", "against")):
        found += [says] if claim[column] else []
        for file, words in (x.split(": ", 1) for x in claim[column].split("; ") if x):
            path = ROOT / file
            exact = f"def {words}(" if path.suffix == ".py" else words
            if not path.is_file() or exact not in path.read_text():
                raise ValueError(
                    f"claim {claim['id']} cites {words!r} in {file}, which does not hold it: correct claims.csv"
                )
    if claim["test"] == "cited" and not found:
        raise ValueError(f"claim {claim['id']} is cited but names no test: fill shown_by or broken_by in claims.csv")
    return found


def verdicts(rows, env="smax", profile="laptop", level="poor", claims=None, chosen=None):
    """Return a Verdict for each claim. rows: tidy result rows; level: where the parts of 6.4 are ablated, in the paper poor.

    chosen: the temperatures that are compared, as in `at_temperatures`; default the paper's. claims: default data/paper/claims.csv;
    one of which something is `untested` holds in part at most. Raises ValueError for an unknown test, a citation that does
    not exist, rows without the environment and profile, another level, and two final rows of one seed.
    """
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; it must be one of {', '.join(LEVELS)}")
    claims = published("claims") if claims is None else claims
    select.choose(rows, env, profile)  # says what there is when there is nothing
    study = Study(prepare(rows, env, profile, chosen), env, level)
    final_table(study.rows)  # refuses two runs in one file, of ablations too
    measured, found = {}, []
    for _, claim in claims.iterrows():
        test = claim["test"]
        if test not in ("cited", *TESTS, *PRINTED):
            raise ValueError(f"claim {claim['id']} names the test {test!r}; there are cited, {', '.join(TESTS)}")
        if test in TESTS and test not in measured:
            measured[test] = TESTS[test](study)
        parts, missing = measured.get(test, ([], []))
        word = decide(parts, missing, cited(claim))
        word = PARTLY if word == HOLDS and claim["untested"] else word
        printed_word, printed = "", ""
        if test in PRINTED:
            how_many, of, words = PRINTED[test]()
            printed_word, printed = by_count(how_many, of), f"{how_many} of {of}: {words}"
        found.append(Verdict(claim, word, parts, list(dict.fromkeys(missing)), printed_word, printed))
    return found

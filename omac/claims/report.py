"""The verdicts in words and as tables."""

from collections import Counter

import pandas as pd

from omac.analysis.paper_tables import PAPERS
from omac.analysis.select import name_sets
from omac.claims.evidence import LEVEL, MOST_SEEDS, POINTS, SHARE, STD_RATIO, P, R, seeds_needed
from omac.claims.verdicts import NOT_RUN, PARTLY, UNDECIDED, WORDS
from omac.schema import LABEL, LEVELS

UNITS = [P, POINTS, SHARE, R, STD_RATIO]
SAID = {"for": "as claimed", "against": "the other way", "open": "undecided"}


def lacking(missing):
    """Cells that are not there, in words: "ICQ, OMAR: 6h_vs_8z good, poor; ..."; "" of none. missing: [(data set, line), ...]."""
    lines, groups = {}, {}
    for data_set, line in missing:
        lines.setdefault(data_set, []).append(LABEL.get(line, line))
    for (name, level, ratio), names in lines.items():
        who = "all five" if set(names) == set(PAPERS) else ", ".join(names)
        groups.setdefault((who, ratio), []).append((name, level, ratio))
    found = []
    for (who, ratio), of in groups.items():
        words = name_sets(of).replace(f" {', '.join(LEVELS)}", "").replace(";", ",")
        found.append(f"{who}: {words}" + ("" if ratio == 100 else f", {ratio} %"))
    return "; ".join(found)


def number(part):
    """ "0.39 [-0.10, 0.80]": a Part's value and interval, with more digits where the bar has more."""
    digits = 2 if round(part.bar, 2) == part.bar else 4
    return f"{part.value:.{digits}f} [{part.low:.{digits}f}, {part.high:.{digits}f}]"


def measured(verdict):
    """Say what was found for a claim, in words: up to three numbers with their intervals, of more how they stand; then what is missing."""
    parts, claim = verdict.parts, verdict.claim
    says = Counter(p.says for p in parts)
    words = "; ".join(f"{p.what}: {number(p)}" for p in parts)
    if len(parts) > 3:
        words = f"of {len(parts)} statistics {', '.join(f'{says[s]} {SAID[s]}' for s in SAID if says[s])}"
    quoted = {"shown by": claim["shown_by"], "against it": claim["broken_by"]}
    cited = [f"{how} {_citation(x)}" for how, x in quoted.items() if x]
    more = verdict.word == UNDECIDED and in_seeds(parts)
    return "; ".join(
        filter(None, [*cited, words, more, verdict.missing and f"*{NOT_RUN}:* {lacking(verdict.missing)}"])
    )


def in_seeds(parts):
    """Say how many seeds would decide the first of some undecided Parts, "about 12 seeds would decide, five are there"."""
    needed = [n for n in map(seeds_needed, parts) if n]
    what = f"about {min(needed)}" if needed else f"more than {MOST_SEEDS}"
    return (
        f"{what} seeds would decide{' one of them' if len(parts) > 1 else ''}, {min(p.seeds for p in parts)} are there"
    )


def _citation(x):
    """ "tests/test_equations.py: test_eq1" as "`test_eq1`", words of a notebook as "02_method (“words”)"."""
    pairs = [y.split(": ", 1) for y in x.split("; ")]
    return ", ".join(f"`{w}`" if f.endswith(".py") else f"{f.split('/')[-1][:-6]} (“{w}”)" for f, w in pairs)


def verdict_table(verdicts, env="smax", tuned=None):
    """Return one line per claim: the sentence, what decides it, what was found, the verdict, and the paper's own tables.

    tuned: Verdicts on the same claims at the chosen temperatures, whose words stand beside, or None. Beside "holds in part"
    how many of several statistics are as claimed.
    """
    return pd.DataFrame(
        {
            "": v.claim["id"],
            "verdict": f"**{v.word}**" + _count(v),
            **({"tuned": w.word + _count(w)} if tuned else {}),
            "section": v.claim["section"],
            "the paper says": v.claim["sentence"],
            "what decides": "; not tested: ".join(filter(None, [v.claim["decides"], v.claim["untested"]])),
            f"found here ({env.upper()})": measured(v),
            "in printed numbers (SMAC)": f"**{v.printed_word}**, {v.printed}" if v.printed else "",
        }
        for v, w in zip(verdicts, tuned or verdicts, strict=True)
    )


def counts(verdicts, tuned=None):
    """Count the claims of each verdict: here at the published settings, tuned (where given), and in the paper's printed numbers."""
    words = {"here": [v.word for v in verdicts]}
    words |= {"tuned": [v.word for v in tuned]} if tuned else {}
    words["printed"] = [v.printed_word or "no number" for v in verdicts]
    table = pd.DataFrame({name: pd.Series(Counter(x), dtype=int) for name, x in words.items()})
    return table.reindex([w for w in (*WORDS, "no number") if w in table.index]).fillna(0).astype(int)


def _count(verdict):
    n, parts = sum(p.says == "for" for p in verdict.parts), len(verdict.parts)
    return f", {n} of {parts}" if verdict.word == PARTLY and parts > 1 else ""


def statistics(verdicts):
    """Return one line per statistic behind the verdicts, each once, with the claims that it decides, by unit."""
    lines = each_part(verdicts)
    bars = {"above": "above {:g}", "below": "below {:g}", "within": "within ±{:g}"}
    return pd.DataFrame(
        [
            (", ".join(ids), p.what, p.unit, number(p), bars[p.side].format(p.bar), SAID[p.says], p.seeds, _needed(p))
            for p, ids in lines
        ],
        columns=[
            *("claims", "statistic", "unit", f"value [{100 * LEVEL:g} %]", "claimed", "interval"),
            *("seeds", "seeds that would decide"),
        ],
    )


def _needed(part):
    return "" if part.says != "open" else f"{seeds_needed(part) or f'more than {MOST_SEEDS}'}"


def each_part(verdicts):
    """[(Part, [ids of its claims])], each Part once, by unit; it says where its interval lies, whatever a claim may take from it."""
    claims = {}
    for v in verdicts:
        for p in v.parts:
            claims.setdefault(p._replace(only=""), []).append(v.claim["id"])
    return sorted(claims.items(), key=lambda x: UNITS.index(x[0].unit))

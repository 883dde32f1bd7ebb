"""The verdicts shown: in words, as a table, and as one figure with a line for each statistic behind them."""

from collections import Counter

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from omac.comparison import named
from omac.evidence import LEVEL, POINTS, SHARE, P, R
from omac.figures import STYLE
from omac.results import LEVELS
from omac.study_figures import LABEL
from omac.tables import PAPERS
from omac.verdict import CANNOT, NOT_RUN, PARTLY

UNITS = [P, POINTS, SHARE, R]
SAID = {"for": "as claimed", "against": "the other way", "open": "undecided"}
COLOUR = {"for": "#0072B2", "against": "#D55E00", "open": "#777777"}
MARKER = {"for": "o", "against": "X", "open": "D"}


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
        words = named(of).replace(f" {', '.join(LEVELS)}", "").replace(";", ",")
        found.append(f"{who}: {words}" + ("" if ratio == 100 else f", {ratio} %"))
    return "; ".join(found)


def number(part):
    """ "0.39 [-0.10, 0.80]": a Part's value and interval."""
    return f"{part.value:.2f} [{part.low:.2f}, {part.high:.2f}]"


def measured(verdict):
    """What was found for a claim, in words: up to three numbers with their intervals, of more how they stand; then what is missing."""
    parts, claim = verdict.parts, verdict.claim
    says = Counter(p.says for p in parts)
    words = "; ".join(f"{p.what}: {number(p)}" for p in parts)
    if len(parts) > 3:
        words = f"of {len(parts)} statistics {', '.join(f'{says[s]} {SAID[s]}' for s in SAID if says[s])}"
    elif verdict.word == CANNOT and parts:
        words += "; undecided"
    quoted = {"shown by": claim["shown_by"], "against it": claim["broken_by"]}
    cited = [f"{how} {_citation(x)}" for how, x in quoted.items() if x]
    return "; ".join(filter(None, [*cited, words, verdict.missing and f"*{NOT_RUN}:* {lacking(verdict.missing)}"]))


def _citation(x):
    """ "tests/test_equations.py: test_eq1" as "`test_eq1`", words of a notebook as "02_method (“words”)"."""
    pairs = [y.split(": ", 1) for y in x.split("; ")]
    return ", ".join(f"`{w}`" if f.endswith(".py") else f"{f.split('/')[-1][:-6]} (“{w}”)" for f, w in pairs)


def table(verdicts, env="smax"):
    """One line per claim: the sentence, what decides it, what was found, the verdict, and the paper's own tables.

    Beside "holds in part" how many of several statistics are as claimed.
    """
    return pd.DataFrame(
        {
            "": v.claim["id"],
            "section": v.claim["section"],
            "the paper says": v.claim["sentence"],
            "what decides": "; not tested: ".join(filter(None, [v.claim["decides"], v.claim["untested"]])),
            f"found here ({env.upper()})": measured(v),
            "verdict": f"**{v.word}**" + _count(v),
            "in printed numbers (SMAC)": f"**{v.printed_word}**, {v.printed}" if v.printed else "",
        }
        for v in verdicts
    )


def _count(verdict):
    n, parts = sum(p.says == "for" for p in verdict.parts), len(verdict.parts)
    return f", {n} of {parts}" if verdict.word == PARTLY and parts > 1 else ""


def statistics(verdicts):
    """One line per statistic behind the verdicts, each once, with the claims that it decides, by unit."""
    lines = _each(verdicts)
    bars = {"above": "above {:g}", "below": "below {:g}", "within": "within ±{:g}"}
    return pd.DataFrame(
        [(", ".join(ids), p.what, p.unit, number(p), bars[p.side].format(p.bar), SAID[p.says]) for p, ids in lines],
        columns=["claims", "statistic", "unit", f"value [{100 * LEVEL:g} %]", "claimed", "interval"],
    )


def _each(verdicts):
    """[(Part, [ids of its claims])], each Part once, by unit; it says where its interval lies, whatever a claim may take from it."""
    claims = {}
    for v in verdicts:
        for p in v.parts:
            claims.setdefault(p._replace(only=""), []).append(v.claim["id"])
    return sorted(claims.items(), key=lambda x: UNITS.index(x[0].unit))


def forest(verdicts, title):
    """A line per statistic: value, interval, and in black the bar (±: two) it is held against; a panel for each unit.

    Colour and marker say where the interval lies: as claimed, the other way, or undecided. Left the statistic and the
    claims that it decides. Raises ValueError when no claim has a statistic yet.
    """
    panels = {}
    for part, ids in _each(verdicts):
        panels.setdefault(part.unit, []).append((part, ids))
    if not panels:
        raise ValueError("no claim has a statistic: run cells of the study first (`make repro`)")
    heights = [len(x) + 1.5 for x in panels.values()]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.19 * sum(heights) + 0.8), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for ax, (unit, lines) in zip(axes, panels.items(), strict=True):
        for y, (p, _) in enumerate(lines):
            style = {"color": COLOUR[p.says], "label": SAID[p.says]}
            ax.plot([p.low, p.high], [y, y], lw=1.6, solid_capstyle="butt", color=style["color"])
            ax.plot(p.value, y, MARKER[p.says], ms=4.5, ls="", **style)
            for bar in (-p.bar, p.bar) if p.side == "within" else (p.bar,):
                ax.plot([bar, bar], [y - 0.45, y + 0.45], color="black", lw=1)
        words = [f"{p.what}  ({', '.join(ids)})" for p, ids in lines]
        ax.set(ylim=(len(lines) - 0.4, -0.6), yticks=range(len(lines)))
        ax.set_yticklabels(words, fontsize=7)
        ax.set_xlabel(unit, fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(axis="y", visible=False)
    found = {label: h for ax in axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    found = {label: found[label] for label in SAID.values() if label in found}
    figure.legend(
        found.values(),
        found,
        title=title,
        loc="outside upper center",
        ncols=3,
        fontsize=8,
        title_fontsize=9,
        frameon=False,
    )
    return figure

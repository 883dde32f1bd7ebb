"""Data cards: what a data set is, computed from its file, and kept in small files that need no data to be looked at."""

import hashlib

import numpy as np
import pandas as pd

from omac.data.episodes import Episodes
from omac.datasets import digest
from omac.datasets.coverage import coverage, project, saco
from omac.envs.smax_maps import CARD
from omac.files import read_table, write_csv
from omac.paths import ROOT, shown

NOTES = ("note", "conversion")  # what a file says of its map, and of how it was read
UNKNOWN = "unknown"  # an outcome that the data do not tell, and a win rate that depends on one
WIDEST = 2000  # characters of a line of a printed card
SHOWN = 600  # states per level that the committed projection keeps


def facts(data):
    """The numbers of a card, {name: value}, of Episodes."""
    r, avail = data.returns, data.avail[data.rows()[1]]
    dead = avail.sum(-1) == 1
    taken = np.take_along_axis(avail, data.action[..., None].astype(np.int64), 2)
    starts = (data.start + np.arange(len(data) + 1))[1:-1]
    joint, each = saco(data)
    return {
        "episodes": len(data),
        "transitions": len(data.reward),
        "return mean": float(r.mean()),
        "return std": float(r.std()),
        "return min": float(r.min()),
        "return max": float(r.max()),
        "wins": int(data.win.sum()),
        "win rate": data.win_rate,
        **({"unknown outcomes": int(data.unknown.sum())} if data.unknown.any() else {}),
        "length mean": float(data.lengths.mean()),
        "length max": int(data.lengths.max()),
        "time limits": int(data.truncated.sum()),
        "dead agent-steps": float(dead.mean()),
        "actions taken that were not available": int((~taken).sum()),
        "returns from 15 (good in MADT's data)": float((r >= 15).mean()),
        "returns from 10 to 15 (medium there)": float(((r >= 10) & (r < 15)).mean()),
        "returns below 10 (poor there)": float((r < 10).mean()),
        "joint SACo": joint,
        "per-agent SACo, mean": float(np.mean(each)),
        "per-agent SACo, lowest": min(each),
        "per-agent SACo, highest": max(each),
        "identical episodes": len(data) - len({hashlib.sha256(e).digest() for e in np.split(data.obs, starts)}),
    }


def policies(data):
    """One row per behaviour policy: share of the episodes, mean return here and as measured, win rate."""
    own = pd.DataFrame({"policy": data.policy, "return": data.returns, "win": data.win}).groupby("policy")
    table = own.agg(
        episodes=("return", "size"),
        share=("return", lambda x: len(x) / len(data)),
        return_mean=("return", "mean"),
        win_rate=("win", "mean"),
    )
    doubtful = pd.Series(data.unknown).groupby(data.policy).any()
    table["win_rate"] = table["win_rate"].mask(doubtful)  # NaN: unknown
    table.insert(0, "name", [data.about["policies"][i] for i in table.index])
    if "policy_returns" in data.about:
        table["return_measured"] = [data.about["policy_returns"][i] for i in table.index]
    return table.reset_index(drop=True)


def card_text(path):
    """The card of a file as printed by `python -m omac card`. Raises DataError for a file that does not pass the checks."""
    data = Episodes.load(path)
    digest.check_identity(data, shown(path))
    about = data.about
    lines = [
        f"{shown(path)}",
        f"  {about['env']}:{about['map']}, level {about['level']}, from {about['source']}, seed {about['seed']}"
        + (
            f", a sample (seed {about['sample_seed']}) of {about['sample_of']} episodes, parent {about['parent'][:12]}"
            if "sample_of" in about
            else ""
        ),
        *(f"  {text}" for text in notes(about).values() if text),
        f"  agents {data.spec.n}, observation {data.spec.obs}, state {data.spec.state}, actions {data.spec.actions}, horizon {data.spec.horizon}",
        f"  digest {digest.of(data).sha256}",
    ]
    lines += [f"  {k:38} {_short(v)}" for k, v in facts(data).items()]
    lines = [_printable(line) for line in lines]
    return "\n".join([*lines, "", policies(data).to_string(index=False, float_format="%.3f", na_rep=UNKNOWN)])


def notes(about):
    """Return {name: text} of the attributes of a data set: what a file says of its map, and of how it was read.

    Of a map of SMAX it is said what is known today, whatever was known when its battles were fought.
    """
    said = {name: about.get(name, "") for name in NOTES}
    return said | {"note": CARD.get(about["map"], "")} if about["source"] == "smax" else said


def _printable(line):
    """A line of a card, whatever a file says: no codes that move a cursor, and at most WIDEST characters."""
    line = "".join(c if c.isprintable() else " " for c in line)
    return line if len(line) <= WIDEST else f"{line[:WIDEST]} ..."


def read_levels(paths):
    """Read the data sets of a map, one file a level. Returns {level: Episodes}.

    Raises DataError for a bad file, ValueError for files of several maps or of one level twice.
    """
    parts = {}
    for path in paths:
        data = Episodes.load(path)
        parts[data.about["level"]] = data
    first, *others = [(d.about["source"], d.spec.map) for d in parts.values()]
    if set(others) - {first} or len(parts) != len(paths):
        raise ValueError(f"{', '.join(map(shown, paths))}: a card is of one map of one source, each level once")
    return parts


def write_cards(parts, folder=ROOT / "data" / "cards"):
    """Write the cards of a map's data sets, {level: Episodes}. Returns the files, sorted.

    <source>-<map>.csv: the facts, a column per level; -episodes.csv: return, length and outcome of every episode;
    -policies.csv: the behaviour policies; -states.csv: a projection of states; -coverage.csv: how far the levels visit the
    same states.
    """
    first = next(iter(parts.values()))
    stem, tables = f"{first.about['source']}-{first.spec.map}", {}
    about = {k: {"digest": digest.of(d).sha256, **notes(d.about)} for k, d in parts.items()}
    known = {k: {**facts(d), **about[k]} for k, d in parts.items()}
    known = {k: {name: _short(v) for name, v in x.items()} for k, x in known.items()}
    tables[""] = pd.DataFrame(known).fillna("0").rename_axis("fact").reset_index()  # a level without unknown outcomes
    tables["-episodes"] = pd.concat([_episodes(d).assign(level=k) for k, d in parts.items()])
    tables["-policies"] = pd.concat([policies(d).assign(level=k) for k, d in parts.items()])
    points = project({k: d.state[d.rows()[1]] for k, d in parts.items()})
    tables["-states"] = pd.concat(
        [pd.DataFrame(x[:SHOWN, :2], columns=["first", "second"]).assign(level=k) for k, x in points.items()]
    )
    tables["-coverage"] = coverage(points).rename_axis("of").reset_index()
    made = []
    for name, table in tables.items():
        table = table.astype(object).where(table.notna(), UNKNOWN) if table.isna().any(axis=None) else table
        made.append(write_csv(table, folder / f"{stem}{name}.csv", digits=4))
    return sorted(made)


def _short(value):
    """A fact as cards print it; NaN is one that is unknown."""
    return UNKNOWN if value != value else f"{value:.4g}" if isinstance(value, float) else str(value)


def _episodes(data):
    """One row per episode: id, policy, return, length and outcome."""
    truncated = data.truncated[data.start[1:] - 1]
    return pd.DataFrame(
        {
            "id": data.id,
            "policy": [data.about["policies"][i] for i in data.policy],
            "return": data.returns,
            "length": data.lengths,
            "outcome": np.select([data.unknown, data.win, truncated], [UNKNOWN, "won", "time limit"], "lost"),
        }
    )


def verify(path, card):
    """One sentence: whether the file at `path` is the data set that a committed card (columns fact and its level) describes."""
    if not path.exists():
        return "not on this machine"
    data, told, level = Episodes.load(path), card.set_index("fact").iloc[:, 0], card.columns[1]
    if digest.of(data).sha256 != told["digest"]:
        return f"{level}: another data set than the card's (its digest differs)"
    wrong = [k for k, v in facts(data).items() if told.get(k) != _short(v)]
    found = f"but the card errs in {', '.join(wrong)}" if wrong else "and every number of the card holds"
    return f"{level}: the same data set, {found}"


COLUMNS = {
    "episodes": "episodes",
    "transitions": "transitions",
    "return mean": "return",
    "return std": "std",
    "return min": "min",
    "return max": "max",
    "win rate": "win rate",
    "length mean": "length",
    "time limits": "time limits",
    "dead agent-steps": "dead",
    "joint SACo": "joint SACo",
    "per-agent SACo, mean": "per-agent SACo",
}


def known(names, folder=ROOT / "data" / "cards"):
    """The committed cards of some sources and maps ("smax-6h_vs_8z"): a DataFrame with a row per data set and level, a column per fact."""
    return pd.concat(
        {n: read_table(folder / f"{n}.csv", dtype=str).set_index("fact").T for n in names}, names=["data", "level"]
    )


def overview(names, folder=ROOT / "data" / "cards"):
    """`known`, the columns that docs/ and notebooks show, levels from good to poor."""
    table = known(names, folder)
    table = table[[c for c in COLUMNS if c in table]]  # a card may be older than a fact
    return table.rename(columns=COLUMNS).rename_axis(columns=None).reset_index()

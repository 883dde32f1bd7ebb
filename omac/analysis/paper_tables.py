"""The paper's tables beside ours, from committed files alone: a number fought in SMAX and one of SMAC never share a column."""

import io
from dataclasses import fields

import pandas as pd

from omac.analysis.results import final_table, markdown
from omac.analysis.select import choose
from omac.config.hyper import Hyper, settings
from omac.files import checked_bytes, read_table
from omac.paths import FIGURES, ROOT, atomic
from omac.schema import LEVELS, METHODS, NAMES

LINE = ["map", "level", "ratio", "algorithm"]
MISSING = "not run yet"
PAPERS = [NAMES[a] for a in ("omac", "icq", "omar", "bcq", "cql")]  # the algorithms of the paper's tables


def published(name):
    """data/paper/<name>.csv as text, so that 9.00 stays 9.00: what the paper or, in "elsewhere", others printed."""
    meant = "after a change on purpose `(cd data/paper && sha256sum *.csv > SHA256SUMS)`"
    content = checked_bytes(ROOT / "data" / "paper" / f"{name}.csv", meant)
    return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)


def beside(rows, name, env="smax", profile="laptop", chosen=None):
    """Table 1 or 4: a line per data set and algorithm; ours, the paper's and others' numbers in columns of their own.

    rows: tidy result rows; name: "table1" or "table4"; chosen: {algorithm: temperature}, whose returns get a column beside
    those of the published settings, or None. mean ± std over seeds, ddof 0. A data set's own mean is that of the cells'
    rows or, before there are any, of its card; what has not been run says so.
    """
    paper, others = (published(n).replace({"algorithm": METHODS}).set_index(LINE) for n in (name, "elsewhere"))

    def own(at):
        found = final_table(choose(rows, env, profile, at)).astype({"ratio": str}).set_index(LINE)
        return found.combine_first(cards(env).map("{:.2f}".format))

    ours = own(None)
    lines = [(*d, a) for d in paper.index.droplevel("algorithm").unique() for a in NAMES.values()]
    table = pd.DataFrame(
        {
            f"{env.upper()} return (ours)": ours["return"],
            f"{env.upper()} win rate (ours)": ours["win rate"],
            **({f"{env.upper()} return, tuned (ours)": own(chosen)["return"]} if chosen else {}),
            "SMAC return (paper)": paper["mean"] + " ± " + paper["std"],
            "SMAC return (others)": others["mean"],
        }
    ).reindex(pd.MultiIndex.from_tuples(lines, names=LINE))
    return table.fillna({c: MISSING if "(ours)" in c else "" for c in table})


def cards(env="smax"):
    """Mean return and win rate of the data sets of `env` that have a card in data/cards, indexed as Table 4 is."""
    found = {}
    for path in sorted((ROOT / "data" / "cards").glob(f"{env}-*.csv")):
        name = path.stem.removeprefix(f"{env}-")
        if "-" not in name:
            for level, card in read_table(path, index_col="fact").items():
                found[name, level, "100", NAMES["data"]] = card[["return mean", "win rate"]].astype(float).tolist()
    index = pd.MultiIndex.from_tuples(found, names=LINE)
    return pd.DataFrame(list(found.values()), index, ["return", "win rate"], dtype=float)


def elsewhere():
    """Others' numbers on the paper's data, a line per data set, SMAC returns; the paper's OMAC as the last column."""
    others, paper = (published(n).set_index([*LINE[:2], "algorithm"])["mean"] for n in ("elsewhere", "table4"))
    table = others.unstack(sort=False).reindex(paper.index.droplevel("algorithm").unique())
    table["omac"] = paper.xs("omac", level="algorithm")
    return table.fillna("").rename(columns={**METHODS, "omac": "OMAC (paper)"})


def highest_algorithm(table, column):
    """{data set: the algorithm of the paper's five with the highest mean} in a column of `beside`.

    Data sets where one of the five has no number are left out. Returns a Series.
    """
    means = pd.to_numeric(table[column].str.split(" ± ").str[0], errors="coerce").unstack()[PAPERS].dropna()
    return means.idxmax(axis=1)


def hyperparameters(params, profile="laptop"):
    """Table 2: the paper's word and its value; ours at that profile, on the paper's twelve data sets; its name in config.py."""
    names = {f.metadata["words"]: f.name for f in fields(Hyper) if f.metadata["words"]}
    names["Weight network hidden dimension"] = "cca_hidden"  # register 21
    sets = published("table4")[LINE[:2]].drop_duplicates().itertuples(index=False)
    hypers = [settings(params, profile, *data_set)[0] for data_set in sets]
    table = published("table2").set_index("group")
    table["ours"] = [
        " or ".join(dict.fromkeys(f"{getattr(h, names[w]):g}" for h in hypers)) if w in names else "Adam"
        for w in table["word"]
    ]
    table["setting"] = [names.get(w, "none") for w in table["word"]]
    return table.rename(columns={"word": "the paper's word", "value": "its value", "ours": f"ours ({profile})"})


def map_table(env="smax"):
    """Table 3: the paper's words for each map; and how its data end here, in `env`, and in the paper's SMAC data.

    Return (win rate) of our data sets from their cards; the mean return of the SMAC data as OG-MARL's cards report it.
    """
    table, ours = published("table3").set_index("map"), cards(env).droplevel(["ratio", "algorithm"])
    text = ours["return"].map("{:.2f}".format) + " (" + ours["win rate"].map("{:.2f}".format) + ")"
    for label, x in ((f"{env.upper()} data (ours), ", text), ("SMAC data, ", elsewhere()["data"])):
        table = table.join(x.unstack("level").reindex(columns=LEVELS).add_prefix(label))
    return table.fillna("")


def snapshot_scores(rows, env="smax", profile="laptop"):
    """Last, mean of the last five and best return of each cell side by side (register 19), the last one's win rate beside."""
    table = final_table(choose(rows, env, profile)).set_index(LINE)
    columns = {
        "win rate": "win rate, last",
        "return": "return, last",
        "last five": "return, last five",
        "best": "return, best",
    }
    return table[list(columns)].rename(columns={k: f"{env.upper()} {v}" for k, v in columns.items()})


def write_table(table, name, caption):
    """Write a table as Markdown to figures/<name>.md, its caption above it. Returns the path."""
    flat = table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
    with atomic(FIGURES / f"{name}.md") as part:
        part.write_text(f"{caption}\n\n{markdown(flat)}\n")
    return FIGURES / f"{name}.md"

"""The suite of SMAX data sets, described for machines: one table, and JSON-LD in MLCommons' format Croissant.

Both are computed from the committed digests and cards; no data need be here.
"""

import pandas as pd

from omac.config.names import read_yaml
from omac.datasets import digest
from omac.datasets.registry import digest_path
from omac.files import read_table
from omac.paths import ROOT
from omac.schema import LEVELS, MAPS

SUITE = tuple(f"smax-{map_name}-{level}" for map_name in MAPS for level in LEVELS)  # the raw data sets
TABLE, DESCRIPTION = "datasets.csv", "croissant.json"
SIZE_COLUMNS = {
    "episodes": "episodes",
    "steps": "transitions",
    "n": "agents",
    "O": "observation",
    "S": "state",
    "A": "actions",
}
FACT_COLUMNS = {  # of a card: column, what it says
    "return mean": ("return_mean", "mean return of the card's episodes, on SMAC's scale from 0 to 20"),
    "return std": ("return_std", "standard deviation of their returns"),
    "win rate": ("win_rate", "share of them that were won"),
    "length mean": ("length_mean", "their mean length in steps"),
    "joint SACo": ("joint_saco", "share of distinct pairs of state and joint action among their transitions"),
    "per-agent SACo, mean": ("agent_saco", "share of distinct pairs of observation and action, mean over agents"),
}
COLUMN_WORDS = {  # the other columns
    "name": "<source>-<map>-<level>",
    "env": "environment",
    "map": "map",
    "level": "level of the behaviour policies: good, medium or poor",
    "episodes": "episodes of the file",
    "transitions": "steps of all its episodes",
    "agents": "agents",
    "observation": "width of an agent's observation",
    "state": "width of the global state",
    "actions": "actions of an agent",
    "horizon": "longest episode that the map allows, in steps",
    "digest": "sha256 over starts, actions, ends, outcomes, rounded rewards and provenance",
    "card_episodes": "episodes of the card: the seeded sample that cells are trained on",
    "card_digest": "digest of that sample",
}
DATA_TYPES = {"i": "sc:Integer", "f": "sc:Float"}  # any other is sc:Text
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs",
            "column",
            "equivalentProperty",
            "extract",
            "field",
            "fileObject",
            "fileProperty",
            "fileSet",
        )
        + (
            "format",
            "includes",
            "isLiveDataset",
            "jsonPath",
            "key",
            "md5",
            "parentField",
            "path",
            "recordSet",
            "references",
        )
        + ("regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform")
    },
}
ENCODINGS = {".h5": "application/x-hdf5", ".csv": "text/csv", ".txt": "text/plain"}


def suite_table(names=SUITE, folder=ROOT / "data"):
    """Tabulate data sets, a line each: sizes and digest from data/digests, the rest from data/cards.

    Raises DataError for a digest, ValueError for a card that is damaged; OSError for a card that is missing.
    """
    lines = []
    for name in names:
        raw = digest.read(digest_path(name, folder))
        about, level = raw.provenance, raw.provenance["level"]
        card = read_table(folder / "cards" / f"{about['source']}-{about['map']}.csv", dtype=str).set_index("fact")[
            level
        ]
        line = {"name": name, **{k: about[k] for k in ("env", "map", "level")}}
        line |= {column: raw.sizes[k] for k, column in SIZE_COLUMNS.items()} | {
            "horizon": about["horizon"],
            "digest": raw.sha256,
        }
        line |= {"card_episodes": int(card["episodes"]), "card_digest": card["digest"]}
        lines.append(line | {column: float(card.get(fact, "nan")) for fact, (column, _) in FACT_COLUMNS.items()})
    return pd.DataFrame(lines)


def describe_suite(table, files, published=None):
    """Describe the suite as Croissant's JSON-LD.

    Args:
        table: as of `suite_table`; it lies beside the description as datasets.csv.
        files: {path beside the description: (bytes, sha256)}, datasets.csv among them.
        published: ISO date, or None.
    Returns:
        A dict, to be written as JSON.
    """
    cite = read_yaml(ROOT / "CITATION.cff")
    words = COLUMN_WORDS | dict(FACT_COLUMNS.values())
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"data_sets/{column}",
            "name": column,
            "description": words[column],
            "dataType": DATA_TYPES.get(table[column].dtype.kind, "sc:Text"),
            "source": {"fileObject": {"@id": TABLE}, "extract": {"column": column}},
        }
        for column in table
    ]
    distribution = [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "contentSize": f"{size} B",
            "encodingFormat": ENCODINGS[path[path.rindex(".") :]],
            "sha256": sha256,
        }
        for path, (size, sha256) in sorted(files.items())
    ]
    authors = [
        {
            "@type": "sc:Organization" if "name" in a else "sc:Person",
            "name": a.get("name") or f"{a['given-names']} {a['family-names']}",
        }
        for a in cite["authors"]
    ]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "omac-smax",
        "description": (
            f"Offline multi-agent reinforcement learning in SMAX (JaxMARL): {len(table)} data sets of recorded battles, maps "
            f"{', '.join(dict.fromkeys(table['map']))}, each with the levels {', '.join(dict.fromkeys(table['level']))} of its behaviour "
            "policies. An HDF5 file holds whole episodes with their final observations: observations, states, available "
            "actions, actions, rewards, ends, outcomes."
        ),
        "license": f"https://spdx.org/licenses/{cite['license']}",
        "version": str(cite["version"]),
        "citeAs": f"{' and '.join(a['name'] for a in authors)}. {cite['title']}, version {cite['version']}.",
        "creator": authors,
        "keywords": ["offline reinforcement learning", "multi-agent reinforcement learning", "SMAX", "JaxMARL"],
        **({"datePublished": published} if published else {}),
        "distribution": distribution,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "data_sets",
                "name": "data_sets",
                "description": "One record per data set.",
                "key": {"@id": "data_sets/name"},
                "field": fields,
            }
        ],
    }

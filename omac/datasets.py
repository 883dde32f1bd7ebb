"""Data sets by name, <source>-<map>-<level>-<ratio>: where they lie, how they are sampled, and making what is missing."""

import json

import h5py

from omac import hdf5, sources
from omac.config import load_params
from omac.episodes import Episodes, sha256, subsample
from omac.paths import ROOT, shown

RATIOS = (100, 50, 10)  # % of the 1000 episodes (Table 1)
HELD = "held"  # in place of the ratio: the episodes that are never trained on


def split(dataset):
    """(source, map, level, part): ("smax", "6h_vs_8z", "medium", "100") from "smax-6h_vs_8z-medium-100".

    part: the ratio in %, or "held" for the episodes that are never trained on. Raises ValueError for another form.
    """
    parts = dataset.split("-")
    if len(parts) != 4 or not (parts[3].isdigit() or parts[3] == HELD):
        raise ValueError(
            f"data set {dataset!r} is not <source>-<map>-<level>-<ratio>, for instance smax-6h_vs_8z-medium-100, "
            "or smax-6h_vs_8z-medium-held for the held-out episodes"
        )
    if parts[3] != HELD and int(parts[3]) not in RATIOS:
        raise ValueError(f"ratio is {parts[3]} %; the paper has {', '.join(map(str, RATIOS))}")
    return tuple(parts)


def held_of(dataset):
    """The name of the held-out episodes beside a data set: the same for all its ratios."""
    return "-".join([*split(dataset)[:3], HELD])


def episodes_path(dataset, folder=ROOT / "data"):
    """data/episodes/<source>-<map>-<level>-<ratio>.h5."""
    split(dataset)
    return folder / "episodes" / f"{dataset}.h5"


def _drawn(dataset, data):
    """(episodes, episodes skipped before them) that `dataset` takes of the seeded permutation of its raw file."""
    part = split(dataset)[3]
    if part == HELD:
        return data["held_out_episodes"], data["sample_episodes"]
    return data["sample_episodes"] * int(part) // 100, 0


def draw_sample(dataset, params=None, folder=ROOT / "data"):
    """Sample a raw data set, seeded: `sample_episodes` episodes, the ratio's share of them (nested), or the
    `held_out_episodes` that come after all of them.

    Returns (path, sha256). Raises ValueError for an unknown part or too few episodes, DataError for a bad raw file.
    """
    data = (params or load_params())["data"]
    raw = sources.raw_path(*split(dataset)[:3], folder / "raw")
    path = episodes_path(dataset, folder)
    count, skip = _drawn(dataset, data)
    return path, subsample(Episodes.load(raw), count, data["seed"], sha256(raw), skip).save(path)


def home(profile):
    """The params and the data folder of a profile: data/, or data/smoke/ with the few episodes that smoke proves itself on."""
    params = load_params()
    small = params["profiles"].get(profile, {}).get("data")
    return (params, ROOT / "data") if small is None else ({**params, "data": small}, ROOT / "data" / profile)


def ensure(dataset, params=None, folder=ROOT / "data"):
    """The path of a sampled data set, pulled and sampled first, with its held-out episodes, where it is missing or made
    with other numbers than `params` has.
    """
    params = params or load_params()
    data = params["data"]
    source, map_name, level, _ = split(dataset)
    raw = sources.raw_path(source, map_name, level, folder / "raw")
    fresh = {"seed": data["seed"]} if source == "smax" else {}
    if not _made_with(raw, data["pull_episodes"] if source == "smax" else None, **fresh):
        sources.pull(source, map_name, level, data["pull_episodes"], data["seed"], folder / "raw")
    for name in [dataset, held_of(dataset)] if data["held_out_episodes"] else [dataset]:
        made = {"sample_seed": data["seed"], "parent_sha256": sha256(raw)}
        if not _made_with(episodes_path(name, folder), _drawn(name, data)[0], **made):
            draw_sample(name, params, folder)
    return episodes_path(dataset, folder)


def _made_with(path, episodes, **about):
    """Whether a readable file is there, with so many episodes (None: any number) and these attributes."""
    if not path.exists():
        return False
    try:
        with h5py.File(path, "r") as f:
            same = all(json.loads(f.attrs.get(k, "null")) == v for k, v in about.items())
            return same and len(f["win"]) == (episodes or len(f["win"]))
    except hdf5.ERRORS:
        return False


def load(dataset, folder=ROOT / "data"):
    """The Episodes of a sampled data set. Raises DataError for a bad file, ValueError for one of another map or level."""
    _, map_name, level, _ = split(dataset)
    path = episodes_path(dataset, folder)
    data = Episodes.load(path)
    if (data.about["map"], data.about["level"]) != (map_name, level):
        raise ValueError(
            f"{shown(path)} holds {data.about['map']} {data.about['level']}, its name says {map_name} {level}: it was renamed or copied"
        )
    return data

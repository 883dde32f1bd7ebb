"""Make what is missing: pull a raw data set, sample it, for the profile that asks; all of it compared with its digest."""

import json
import sys

import h5py

from omac.config.hyper import load_params
from omac.config.names import check_name
from omac.data import hdf5
from omac.data.episodes import Episodes, write_episodes
from omac.datasets import digest
from omac.datasets.loaders import catalogue
from omac.datasets.registry import DataSet, digest_path, draw_sample, identify
from omac.paths import ROOT
from omac.schema import LEVELS, MAPS


def home(profile):
    """The params and the data folder of a profile: data/, or data/smoke/ with the few episodes that smoke proves itself on."""
    params = load_params()
    small = params["profiles"].get(profile, {}).get("data")
    return (params, ROOT / "data") if small is None else ({**params, "data": small}, ROOT / "data" / profile)


def check_source(source, map_name, level):
    """Raise ValueError, with the nearest name, for a source, map or level of which there are no data."""
    if source == "smax":
        check_name("map of smax", map_name, MAPS)
        check_name("level", level, LEVELS)
    else:
        catalogue.find(source, map_name, level)


def fitted(params, wanted, folder=ROOT / "data"):
    """Fit the sizes of samples to what others recorded: where a raw data set has fewer episodes than are asked for.

    Args:
        params: as load_params returns them.
        wanted: a DataSet.
        folder: the data folder of the raw data set.
    Returns:
        (params, words): the same and "" where there are enough, or where it is SMAX's, of which more can be fought. Else params
        with all episodes dealt out in the proportion asked for, and one line that says so.
    Raises:
        ValueError: there are too few for one to train on and one to hold out.
    """
    path, data = digest_path(wanted.raw, folder), params["data"]
    asked, held = data["sample_episodes"], data["held_out_episodes"]
    there = digest.read(path).sizes["episodes"] if path.exists() and wanted.source != "smax" else None
    if there is None or there >= asked + held:
        return params, ""
    out = max(1, round(there * held / (asked + held))) if held else 0
    if there - out < 1:
        raise ValueError(
            f"{wanted.raw} has {there} episode: one to train on and one to hold out are needed, record more"
        )
    fits = {**data, "sample_episodes": there - out, "held_out_episodes": out}
    said = f"{wanted.raw} has {there} episodes where {asked} and {held} held out are asked for: {there - out} are trained on, {out} held out"
    return {**params, "data": fits}, said


def check_names(dataset):
    """Raise ValueError as `check_source` does, for a sample of which neither file nor raw file is here."""
    wanted = DataSet.parse(dataset)
    if not (wanted.path().exists() or wanted.raw_path().exists()):
        check_source(wanted.source, wanted.map, wanted.level)


def raw_folder(wanted, folder):
    """The data folder in which a sample's raw data set lies.

    What others recorded lies once, in data/, whatever the profile: `pull` and `import` write it there, and a copy would
    grow old. SMAX's battles are fewer in a small profile, and so are a file of their own.
    """
    fought_here = wanted.source in ("smax", "toy")
    return ROOT / "data" if not fought_here and folder.parent == ROOT / "data" else folder


def pull(source, map_name, level, episodes, seed, folder=ROOT / "data"):
    """Make or fetch one raw data set. Returns (path, Digest).

    smax is collected here: `episodes` battles with `seed`, or taken from OMAC_MIRROR where an export of them lies. Every other source is fetched (or taken from OMAC_MIRROR) and
    converted as it is, all of it. Raises ValueError (DataError and DataDiffers among them) or OSError, in one line.
    """
    check_source(source, map_name, level)
    wanted = DataSet(source, map_name, level)
    path = wanted.raw_path(folder)
    from omac.datasets.pull import published_copy, recorded_parts, whole

    if source == "smax":
        from omac.behaviour.collect import collect

        copy = published_copy(map_name, level)
        as_asked = copy is not None and (len(copy), copy.about["seed"]) == (episodes, seed)
        write_episodes(path, [copy] if as_asked else collect(map_name, level, episodes, seed))
    else:
        write_episodes(path, whole(recorded_parts(source, map_name, level), path))
    return path, identify(Episodes.load(path), wanted.raw, folder, made=True)


def ensure(dataset, params=None, folder=ROOT / "data"):
    """The path of a sampled data set, pulled and sampled first, with its held-out episodes, where it is missing or made
    with other numbers than `params` has, or of another parent than the raw data set's digest.
    """
    params = params or load_params()
    data, wanted = params["data"], DataSet.parse(dataset)
    home_of_raw = raw_folder(wanted, folder)
    origin = _origin(wanted.raw_path(home_of_raw))
    for one in [wanted, wanted.held] if data["held_out_episodes"] else [wanted]:
        parent = _recorded(wanted, data, home_of_raw)
        as_asked = {"sample_seed": data["seed"], "parent": parent, **origin}
        count = one.drawn(fitted(params, wanted, home_of_raw)[0]["data"])[0]
        if parent and _made_with(one.path(folder), count, **as_asked):
            continue
        made = {"seed": data["seed"]} if wanted.source == "smax" else {}
        if not (parent and _made_with(wanted.raw_path(home_of_raw), None, **made)):
            pull(wanted.source, wanted.map, wanted.level, data["pull_episodes"], data["seed"], home_of_raw)
        fits, said = fitted(params, wanted, home_of_raw)
        if said and one == wanted:
            print(said, file=sys.stderr)
        draw_sample(one.name, fits, folder, home_of_raw)
    return wanted.path(folder)


def _recorded(wanted, data, folder):
    """The sha256 of the raw data set's digest, or None where it is not there or of other numbers than `data` has."""
    path = digest_path(wanted.raw, folder)
    if not path.exists():
        return None
    raw = digest.read(path)
    numbers = (raw.sizes["episodes"], raw.provenance["seed"])
    stale = wanted.source == "smax" and numbers != (data["pull_episodes"], data["seed"])
    return None if stale else raw.sha256


def _origin(path):
    """{"origin": the files that a raw data set was made from}; {} of our own, and where it is not here.

    A digest leaves observations and states out: of data that others recorded, only this tells a corrected file.
    """
    try:
        with h5py.File(path, "r") as f:
            return {"origin": json.loads(f.attrs["origin"])}
    except hdf5.ERRORS:
        return {}


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

"""What a researcher recorded, as a data set with a name: read in its layout, and told truthfully where it came from."""

import re
from dataclasses import dataclass, replace
from importlib import import_module

from omac.config.names import check_name
from omac.data.episodes import Episodes, sha256, write_episodes
from omac.data.validation import DataError
from omac.datasets import digest
from omac.datasets.loaders import catalogue, download, kept
from omac.datasets.pull import whole
from omac.datasets.registry import DataSet, digest_path, identify
from omac.paths import ROOT, need_file, shown
from omac.schema import KNOWN_LEVELS, MAPS

LAYOUTS = {"pymarl": "pymarl", "vault": "vault", "madt": "madt_pickle", "hdf5": None}  # and their loaders
RESERVED = ("smax", *catalogue.SOURCES)  # sources that nobody else may be called
LETTERS = 60  # letters of each part of a name
SAMPLE = ("sample_seed", "sample_of", "parent")  # attributes of a sample


@dataclass(frozen=True)
class Recorded:
    """What a file does not say of itself; None: the file says it.

    source is the first part of the data set's name. policies: the behaviour policies, in words.
    """

    env: str | None = None
    map: str | None = None
    level: str | None = None
    policies: tuple = ()
    source: str = "imported"


def import_file(path, layout, told, folder=ROOT / "data"):
    """Take a file, or a folder of files, into the data folder as a raw data set.

    An export of a data set whose digest is in data/digests keeps its name, and its source. Everything else is a data set
    of the source that `told` names, which is none of this project's own.

    Args:
        path: a file; of a Vault its folder or a zip of it; of several files (PyMARL's, MADT's pickles) their folder.
        layout: a key of LAYOUTS.
        told: Recorded.
        folder: the data folder.
    Returns:
        (name of the data set, path of its file, Digest)
    Raises:
        ValueError: a name is missing, misspelt or taken, or contradicts the file; DataError for a bad file. One line.
    """
    check_name("layout", layout, LAYOUTS)
    _check_source(told.source)
    files, origin = _files(path, layout)
    own = _own(files, layout)
    if own is None:
        name, parts = _foreign(files, layout, told, origin)
    else:
        name, own = _named(own, told, origin, folder)
        parts = [own]
    target = folder / ("episodes" if name.count("-") == 3 else "raw") / f"{name}.h5"
    if name.count("-") == 3:
        own.save(target)
    else:
        write_episodes(target, whole(parts, target))
    return name, target, identify(Episodes.load(target), name, folder, made=True)


def _check_source(source):
    if source.lower() in RESERVED:  # some disks do not tell large letters from small ones
        raise ValueError(f"source {source!r} is taken: what you recorded did not come from there, choose another name")
    _check_word("source", source)


def _check_word(what, value, pattern=r"\w+"):
    if not value:
        raise ValueError(f"--{what} is missing: the file does not say it")
    if not re.fullmatch(pattern, value, re.ASCII):
        raise ValueError(f"{what} {value!r} is not made of letters, digits and _ alone: it becomes part of a name")
    if len(value) > LETTERS:
        raise ValueError(f"{what} has {len(value)} letters, at most {LETTERS} fit the name of a file")


def _files(path, layout):
    """The files to read, and where they come from {address, files}. Raises DataError where there is nothing."""
    need_file(path)
    if not path.exists():
        raise DataError(shown(path), "file", "does not exist", "a misspelt path")
    if layout == "vault":
        folder = download.unpack(path) if path.is_file() else path
        listed = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        files = [folder]
    else:
        files = listed = (
            [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
        )
    if not listed:
        raise DataError(shown(path), "file", "an empty folder", "a misspelt path")
    base = path.parent if path.is_file() else path
    return files, {
        "address": path.name,
        "files": download.short_list({str(p.relative_to(base)): sha256(p) for p in listed}),
    }


def _own(files, layout):
    """The Episodes of a file that this project wrote; None for any other."""
    if layout == "hdf5" and len(files) == 1:
        return Episodes.load(files[0])
    if layout == "hdf5":
        raise DataError(shown(files[0].parent), "file", f"{len(files)} files", "one data set is one file: name one")
    return kept.restored(files[0]) if layout != "madt" and len(files) == 1 else None


def _foreign(files, layout, told, origin):
    """(name, parts) of files that say nothing of their origin but what `told` says."""
    _check_word("env", told.env, r"\w[\w-]*")
    for what in ("map", "level"):
        _check_word(what, getattr(told, what))
    if not told.policies:
        raise ValueError(
            "--policies is missing: name the behaviour policies in a few words, such as 'qmix, snapshot 3'"
        )
    if told.env == "smax" and told.map in MAPS:
        check_name("level", told.level, KNOWN_LEVELS)
    about = {"env": told.env, "map": told.map, "level": told.level, "source": told.source, "seed": None, "versions": {}}
    about |= {"reward_scale": 20, "policies": [", ".join(told.policies)], "origin": origin}
    loader = import_module(f"omac.datasets.loaders.{LAYOUTS[layout]}")
    parts = loader.load(files[0] if layout == "vault" else files, about)
    return DataSet(told.source, told.map, told.level).raw, parts


def _named(data, told, origin, folder):
    """(name, Episodes) of a file that this project wrote. Raises ValueError where `told` contradicts it."""
    for what in ("env", "map", "level"):
        if getattr(told, what) not in (None, data.about[what]):
            raise ValueError(f"--{what} is {getattr(told, what)!r}, the file says {data.about[what]!r}: leave it out")
    if told.policies:
        raise ValueError(f"--policies is {', '.join(told.policies)!r}, the file names its own: leave it out")
    claimed, found = data.about["source"], digest.of(data).sha256
    for what in ("source", "map", "level"):
        _check_word(what, data.about[what])
    raw = DataSet(claimed, data.about["map"], data.about["level"]).raw
    known = [digest_path(raw, folder), *sorted(digest_path("", folder).parent.glob(f"{raw}-*.txt"))]
    for path in known:
        if path.exists() and digest.read(path).sha256 == found:
            if told.source not in (Recorded.source, claimed):
                raise ValueError(
                    f"--source is {told.source!r}, and the file is the data set {path.stem}, recorded here: leave it out"
                )
            return path.stem, data
    about = {k: v for k, v in data.about.items() if k not in SAMPLE} | {"origin": origin}
    if claimed in RESERVED or told.source != Recorded.source:
        said = f"a file of this project whose source is said to be {claimed}; its digest is none of those recorded here"
        about |= {"source": told.source, "conversion": ". ".join(filter(None, [about.get("conversion"), said]))}
    name = DataSet(about["source"], about["map"], about["level"]).raw
    return name, replace(data, about=about)

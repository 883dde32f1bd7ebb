"""Data sets that others recorded: found, fetched, converted, and compared with what is there already."""

import hashlib
import sys
from importlib import import_module
from pathlib import Path

from omac.data import hdf5
from omac.data.validation import DataError, copies
from omac.datasets.loaders import catalogue, download, kept
from omac.paths import shown


def recorded_parts(source, map_name, level):
    """Yield parts, Episodes, of a data set that others recorded. Raises like `pull`.

    A digest that nobody published is said on stderr and noted in the file, never believed.
    """
    entry = catalogue.find(source, map_name, level)
    names = {"map": map_name, "level": level}
    file, url = entry.file.format(**names), entry.url and entry.url.format(**names)
    digest = entry.sha256.get((map_name, level))
    files, origin = download.obtain(entry, file, digest, url)
    if not digest:
        print(f"{file}: nobody published its digest; found and noted sha256 {origin['files']}", file=sys.stderr)
    about = {
        "env": entry.env,
        "map": map_name,
        "level": level,
        "source": source,
        "seed": None,
        "versions": {},
        "reward_scale": 20,
        "policies": [entry.policies.format(**names)],
        "origin": origin,
    }
    layout = import_module(f"omac.datasets.loaders.{entry.layout}")
    yield from layout.load(download.unpack(files[0]) if entry.layout == "vault" else files, about)


def published_copy(map_name, level):
    """Read a SMAX data set that somebody exported, from OMAC_MIRROR/smax/<map>/<level>/; None where there is none.

    Raises DataError for several files, one that no export wrote, or one of another data set.
    """
    there = download.mirror()
    folder = there / "smax" / map_name / level if isinstance(there, Path) else None
    found = sorted(p for p in folder.glob("*") if p.name[0] != ".") if folder else []
    if not found:
        return None
    if len(found) > 1:
        raise DataError(
            shown(folder), "file", f"{len(found)} files", "one data set is one file or Vault: remove the others"
        )
    data = kept.restored(download.unpack(found[0]) if found[0].suffix == ".zip" else found[0])
    names = ["smax", map_name, level]
    if data is None or [data.about[k] for k in ("source", "map", "level")] != names:
        what = (
            "no export of this project"
            if data is None
            else f"{data.about['source']} {data.about['map']} {data.about['level']}"
        )
        raise DataError(shown(found[0]), "file", what, "a file in the wrong folder")
    return data


def whole(parts, path):
    """Yield the parts; then refuse too many copies over all of them, and the same episodes under another level's name."""
    seen, played, again, count = set(), set(), 0, 0
    for part in _in_memory(parts, path):
        played |= _played(part.start, part.action, part.reward)
        for e in range(len(part)):
            steps, rows = slice(*part.start[e : e + 2]), slice(part.start[e] + e, part.start[e + 1] + e + 1)
            key = hashlib.sha256(part.state[rows].tobytes() + part.action[steps].tobytes()).digest()
            again, count = again + (key in seen), count + 1
            seen.add(key)
        yield part
    if found := copies(again, count):
        raise DataError(shown(path), *found)
    for other in sorted(path.parent.glob("-".join(path.stem.split("-")[:2]) + "-*.h5")):
        if other != path and _played_in(other) == played:
            raise DataError(
                shown(path),
                "level",
                f"the same episodes as {shown(other)}",
                "one file uploaded under two names: ask its authors, keep one",
            )


def _in_memory(parts, path):
    """The parts; a lack of memory on the way is named in one line."""
    try:
        yield from parts
    except MemoryError as e:
        raise DataError(shown(path), "file", f"too little memory: {e}", "a small machine, or damaged sizes") from None


def _played(start, action, reward):
    """A set of one digest an episode, of its actions and rewards."""
    return {
        hashlib.sha256(action[a:b].tobytes() + reward[a:b].tobytes()).digest()
        for a, b in zip(start[:-1], start[1:], strict=True)
    }


def _played_in(path):
    try:
        with hdf5.opened(path) as f:
            found = hdf5.arrays(f, ("start", "action", "reward"), "")
            return _played(*map(hdf5.read_array, found.values()))
    except DataError:
        return None  # a damaged file is named when it is used

"""What an export keeps beside another layout's arrays, so that the same data set comes back: attributes, outcomes, its digest.

It is one attribute of an HDF5 file, a JSON text, which readers of that layout do not look at. A Vault keeps it, with the final
views, for which it has no place, in a file of its own beside metadata.json.
"""

import hashlib
import json
from dataclasses import asdict

import numpy as np

from omac.data import hdf5
from omac.data.episodes import Episodes
from omac.data.validation import DTYPES, FIELDS, DataError, check
from omac.datasets import digest
from omac.datasets.loaders import pymarl, vault
from omac.paths import shown

NAME = "omac_data_set"  # of the attribute
BESIDE = "omac.h5"  # beside a Vault's metadata.json
LARGEST = 64 << 20  # bytes of it: some 25 an episode
VIEWS = ("obs", "state", "avail")
BY_EPISODE = ("win", "id", "policy")


def write(f, data):
    """Write into an open HDF5 file what its layout has no place for of Episodes."""
    told = {"about": data.about, "digest": asdict(digest.of(data))}
    told |= {name: getattr(data, name).astype(int).tolist() for name in BY_EPISODE}
    f.attrs[NAME] = json.dumps({"told": told, "sha256": _seal(told)}, sort_keys=True)


def restored(path):
    """Read back an export of this project.

    Args:
        path: an HDF5 file of ours or PyMARL's layout, or a folder with a Vault in it.
    Returns:
        Episodes, or None for a file that this project did not write.
    Raises:
        DataError: it is no longer what was written; or as the loaders do.
    """
    if path.is_dir():
        beside = sorted(path.rglob(BESIDE))
        if not beside:
            return None
        if len(beside) > 1:
            found = f"{len(beside)} data sets"
            raise DataError(shown(path), "file", found, "several levels: name the folder of one, as <map>.vlt/<level>")
        return _of_vault(beside[0])
    with hdf5.opened(path) as f:
        if set(FIELDS) <= set(f):
            return Episodes.load(path)
        return _of_pymarl(path, _told(f)) if NAME in f.attrs else None


def _of_pymarl(path, told):
    as_flagged = {
        "env": "",
        "map": "",
        "policies": [""],
        "reward_scale": 1,
        "level": "",
        "source": "",
        "seed": None,
        "versions": {},
    }
    parts = list(pymarl.load([path], as_flagged))
    arrays = {k: np.concatenate([getattr(p, k) for p in parts]) for k in FIELDS if k not in BY_EPISODE}
    arrays["start"] = np.concatenate([[0], np.cumsum([n for p in parts for n in p.lengths])])
    return _checked(shown(path), told, arrays)


def _of_vault(beside):
    with hdf5.opened(beside) as f:
        told = _told(f)
        final = {k: hdf5.read_array(x) for k, x in hdf5.arrays(f, VIEWS, "another layout").items()}
    part = vault.rows(beside.parent)
    after = part.pop("stop")  # each episode's final view comes behind its last step
    if any(len(final[k]) != len(after) for k in VIEWS):
        raise DataError(shown(beside), "obs", f"final views of {len(final['obs'])} episodes", "files of two exports")
    for k in VIEWS:
        part[k] = np.insert(part[k], after, final[k], axis=0)
    part["start"] = np.concatenate([[0], after])
    return _checked(shown(beside.parent), told, part)


def _told(f):
    name = shown(f.filename)
    found = hdf5.attribute(f, NAME, LARGEST)
    try:
        if _seal(found["told"]) == found["sha256"]:
            return found["told"]
    except (TypeError, KeyError):
        pass
    raise DataError(name, f"attribute {NAME}", "not as it was written", "a damaged or edited file: get it again")


def _checked(name, told, arrays):
    """The Episodes of arrays and what was told of them. Raises DataError unless they are those that were exported."""
    try:
        arrays |= {k: np.array(told[k]) for k in BY_EPISODE}
        arrays = {k: arrays[k].astype(DTYPES[k]) for k in FIELDS}
        check(arrays, told["about"], name)
        data, wanted = Episodes(**arrays, about=told["about"]), digest.Digest(**told["digest"])
        if not (differences := digest.compare(digest.of(data), wanted)):
            return data
        found = digest.describe(differences, wanted)
    except DataError:
        raise
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as e:
        raise DataError(name, f"attribute {NAME}", repr(e), "a damaged or edited file: get it again") from None
    raise DataError(name, "digest", found, "the file was changed after it was exported: get it again")


def _seal(told):
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

"""Small valid files of every kind that a result passes through, and how each is read: what benchmarks/faults.py flips bits in."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fault_layouts import as_madt, as_pymarl, as_vault, own, pulled, torch_save

from omac.data.episodes import Episodes, subsample
from omac.datasets import registry
from omac.paths import ROOT

RAW, CARD_OF = "smax-3m-good", "smax-6h_vs_8z"


def raw(folder):
    """A raw data set of ours, as `pull smax` writes it, with its digest."""
    data = Episodes.load(own(folder))
    about = {key: value for key, value in data.about.items() if key not in ("origin", "conversion")}
    about |= {"source": "smax", "note": "made up", "policy_returns": [11.5], "versions": {"jaxmarl": "0.2.0"}}
    data, path = replace(data, about=about), folder / "raw" / f"{RAW}.h5"
    data.save(path)
    registry.identify(data, RAW, folder, made=True)
    return path


def read_raw(folder, path):
    """As every reader of a raw data set: checked, and held against its digest."""
    data = Episodes.load(path)
    registry.identify(data, RAW, folder)
    return data


def sample(folder):
    """A sample of ours, as `subsample` writes it, with its digest."""
    raw(folder)
    data = Episodes.load(folder / "raw" / f"{RAW}.h5")
    path = folder / "episodes" / f"{RAW}-100.h5"
    chosen = subsample(data, 6, 0, "0" * 64)
    chosen.save(path)
    registry.identify(chosen, f"{RAW}-100", folder, made=True)
    return path


def digest_of_sample(folder):
    """The digest of a sample."""
    sample(folder)
    return registry.digest_path(f"{RAW}-100", folder)


def read_sample(folder, path):
    """As a cell reads what it is trained on."""
    return registry.load(f"{RAW}-100", folder)


def rows(folder):
    """Rows of results, as a cell and `results` write them."""
    from omac.files import read_rows, write_csv

    return write_csv(read_rows(ROOT / "data" / "results.csv").head(60), folder / "results.csv")


def read_result(folder, path):
    """As every reader of rows."""
    from omac.files import read_rows

    return read_rows(path)


def card(folder):
    """A committed card."""
    return shutil.copy(ROOT / "data" / "cards" / f"{CARD_OF}.csv", folder / "card.csv")


def read_card(folder, path):
    """As every reader of tables that are no rows."""
    from omac.files import read_table

    return read_table(path, dtype=str)


def checkpoint(folder):
    """A small checkpoint."""
    import torch

    from omac.training.checkpoint import write_checkpoint

    write_checkpoint(folder / "a.pt", {"nets": {"w": torch.arange(999.0)}, "log": [{"L_Q": 0.5}], "step": 7})
    return folder / "a.pt"


def read_checkpoint(folder, path):
    """As a run that goes on."""
    from omac.training.checkpoint import read_checkpoint

    point = read_checkpoint(path)
    return {"w": point["nets"]["w"].numpy(), "log": point["log"], "step": point["step"]}


def listed(name, list_itself=False):
    """How a committed file, and the SHA256SUMS beside it, are copied; list_itself: the list is what is flipped."""

    def make(folder):
        source = min((ROOT / "data" / name).glob("*.safetensors"), key=lambda path: path.stat().st_size)
        shutil.copy(source.parent / "SHA256SUMS", folder)
        copied = Path(shutil.copy(source, folder))
        return folder / "SHA256SUMS" if list_itself else copied

    return make


def read_listed(read):
    """How the only listed file of a folder is read."""
    return lambda folder, path: read(next(folder.glob("*.safetensors")))


def policies(path):
    """As `verify` reads a kept policy."""
    from omac.study.policies import read_policy

    kept = read_policy(path)
    return {"about": kept.about, "returns": kept.returns, **{name: x.numpy() for name, x in kept.state.items()}}


def snapshots(path):
    """As `pull smax` reads the policies that fight."""
    from omac.behaviour.levels import read_snapshots

    rows, tensors = read_snapshots(path)
    return {"rows": rows, **{name: x.numpy() for name, x in tensors.items()}}


def copy_of(name):
    """How a committed text is copied."""
    return lambda folder: Path(shutil.copy(ROOT / name, folder))


def read_params(folder, path):
    """As every command reads its settings."""
    from omac.config.hyper import load_params

    return load_params(path)


def read_cells(folder, path):
    """As `study` reads the cells."""
    from omac.study.grid import known_cells

    return known_cells(path)


class Kind(NamedTuple):
    """A kind of file.

    make: (folder) -> the path of a valid file, the one that is flipped.
    read: (folder, path) -> all that a run would see of it: Episodes, a table, or values by name.
    bare: nothing in it, or beside it, says what its numbers are.
    """

    make: Callable
    read: Callable
    bare: bool = False


KINDS = {
    "raw data set, smax": Kind(raw, read_raw),
    "raw data set, from others": Kind(own, lambda folder, path: Episodes.load(path)),
    "sample": Kind(sample, read_sample),
    "digest": Kind(digest_of_sample, read_sample),
    "checkpoint": Kind(checkpoint, read_checkpoint),
    "rows, results.csv": Kind(rows, read_result),
    "card": Kind(card, read_card),
    "behaviour policies": Kind(listed("behaviour"), read_listed(snapshots)),
    "kept policy": Kind(listed("policies"), read_listed(policies)),
    "SHA256SUMS": Kind(listed("policies", list_itself=True), read_listed(policies)),
    "params.yaml": Kind(copy_of("params.yaml"), read_params, bare=True),
    "cells.yaml": Kind(copy_of("cells.yaml"), read_cells, bare=True),
    "PyMARL's HDF5, compressed": Kind(
        lambda f: as_pymarl(f / "mirror", {"compression": "gzip"}), pulled("cfcql", "3m")
    ),
    "PyMARL's HDF5, plain": Kind(lambda f: as_pymarl(f / "mirror", {}), pulled("cfcql", "3m"), bare=True),
    "MADT's pickle, torch's zip": Kind(lambda f: as_madt(f / "mirror", torch_save), pulled("madt", "5m_vs_6m")),
    "MADT's pickle, plain": Kind(lambda f: as_madt(f / "mirror", pickle.dump), pulled("madt", "5m_vs_6m"), bare=True),
    "OG-MARL's Vault, zip": Kind(lambda f: as_vault(f / "mirror"), pulled("ogmarl", "3m")),
}

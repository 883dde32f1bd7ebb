"""Small valid files of every kind that a result passes through, and how each is read: what benchmarks/faults.py flips bits in."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from fault_layouts import as_madt, as_pymarl, as_vault, own, pulled, torch_save

from omac.data.episodes import Episodes, subsample
from omac.datasets import registry
from omac.paths import ROOT

RAW = "smax-3m-good"
KEPT = {"about": json.dumps({"dataset": f"{RAW}-100", "algorithm": "bc", "seed": 0, "step": 8000})}
SNAPSHOTS = {"snapshots": json.dumps([{"name": "mappo-0-10", "level": "good", "return": 11.5}])}


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
    """As every reader of a raw data set: checked, and compared with its digest."""
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
    from omac.config.hyper import load_params
    from omac.files import write_csv
    from omac.schema import CELL, PUBLISHED, SCORES

    names = dict(zip(CELL, ["smax", "6h_vs_8z", "poor", 100, "bc", "", load_params()["profile"]], strict=True))
    names |= {"temperature": PUBLISHED}
    scores = dict.fromkeys(SCORES, 0.5) | {"episodes": 320, "return_mean": 8.125, "simulator": "jaxmarl 0.2.0"}
    steps = [{**names, "seed": i % 5, "step": 1000 * i, "kind": "eval", **scores, "L_pi": i / 7} for i in range(40)]
    return write_csv(pd.DataFrame(steps), folder / "results.csv")


def read_result(folder, path):
    """As every reader of rows."""
    from omac.files import read_rows

    return read_rows(path)


def card(folder):
    """A table that is no rows, as cards are written."""
    from omac.files import write_csv

    facts = {
        "fact": ["episodes", "return mean", "digest"],
        "good": ["2000", "17.51", "0" * 64],
        "poor": ["1", "2", "3"],
    }
    return write_csv(pd.DataFrame(facts), folder / "smax-3m.csv")


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


def listed(metadata, prefix, list_itself=False):
    """How weights are written, with a line in SHA256SUMS; list_itself: the list is what is flipped."""

    def make(folder):
        import torch
        from safetensors.torch import save_file

        from omac.files import record_sums

        fought = {"returns": torch.arange(9.0), "win": torch.arange(9) > 4, "length": torch.arange(9).int()}
        weights = {f"{prefix}{name}.weight": torch.randn(1, 30, 9).half() for name in ("first", "second")}
        for name in ("smax-3m", "smax-8m"):
            save_file({**weights, **fought}, folder / f"{name}.safetensors", metadata=metadata)
            record_sums(folder / f"{name}.safetensors")
        return folder / ("SHA256SUMS" if list_itself else "smax-3m.safetensors")

    return make


def read_listed(read):
    """How a listed file is read."""
    return lambda folder, path: read(folder / "smax-3m.safetensors")


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
    "behaviour policies": Kind(listed(SNAPSHOTS, ""), read_listed(snapshots)),
    "kept policy": Kind(listed(KEPT, "policy."), read_listed(policies)),
    "SHA256SUMS": Kind(listed(KEPT, "policy.", list_itself=True), read_listed(policies)),
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

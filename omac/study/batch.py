"""Cells without DVC and papermill, for a machine that has neither, or no network: their rows come back as files."""

import sys

from omac.config.names import check_trained_on
from omac.config.params import ALGORITHMS
from omac.datasets.registry import DataSet
from omac.paths import BUILD, alone, shown
from omac.progress import bar
from omac.study.cell import cell_settings
from omac.study.grid import CELL_DASHES
from omac.study.pipeline import log_of
from omac.study.prepare import ensure, home
from omac.study.runner import LocalBackend, conduct, terminable


def parse_cell(name):
    """Read a cell's name, "<dataset>-<algorithm>" or "<dataset>-<algorithm>-<variant>".

    Returns:
        {"dataset", "algorithm", "variant"}
    Raises:
        ValueError: a name of another form, or of a data set that nothing is trained on.
    """
    parts = name.split("-", CELL_DASHES + 1)
    if len(parts) <= CELL_DASHES:
        raise ValueError(
            f"{name!r} names no cell: write <dataset>-<algorithm>[-<variant>], as smax-6h_vs_8z-poor-100-omac-tau_05; "
            f"algorithms: {', '.join(ALGORITHMS)}"
        )
    dataset = "-".join(parts[:CELL_DASHES])
    DataSet.parse(dataset)
    check_trained_on(dataset)
    return {"dataset": dataset, "algorithm": parts[CELL_DASHES], "variant": (*parts, "default")[CELL_DASHES + 1]}


def run_batch(names, out, profile="laptop", device="auto", jobs=2):
    """Train cells, let their policies fight, and write the rows of each to out/<cell>.csv, `jobs` cells side by side.

    A cell whose file is there is left out; one that was broken off goes on from its checkpoint. Every name is looked at
    before any work, and missing data sets are made first.

    Args:
        names: of cells, as `parse_cell` reads them.
        out: a folder.
        profile, device: as in `run_cell`.
        jobs: how many side by side.
    Returns:
        The exit code: 0, 1 if a cell failed, 130 if interrupted.
    """
    params, folder = home(profile)
    known = {name: parse_cell(name) for name in names}
    for cell in known.values():
        cell_settings(params, **cell, profile=profile, device=device)
    todo = {name: cell for name, cell in known.items() if not (out / f"{name}.csv").exists()}
    print(f"cells: {len(known)}, rows are there: {len(known) - len(todo)}, to run: {len(todo)}", flush=True)

    def words(name, cell):
        place = ["--profile", profile, "--device", device, "--out", str((out / f"{name}.csv").absolute())]
        named = [cell["dataset"], cell["algorithm"], "--variant", cell["variant"]]
        return [sys.executable, "-m", "omac", "train", *named, *place]

    try:
        with terminable(), alone(BUILD / "batch.lock", "another batch runs in this checkout"):
            for dataset in dict.fromkeys(cell["dataset"] for cell in todo.values()):
                ensure(dataset, params, folder)
            with LocalBackend(jobs, words) as backend, bar("cells", len(todo), "cell") as progress:
                failed = conduct(todo, backend, progress)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on, a cell that was under way from its last checkpoint")
        return 130
    for name, error in failed.items():
        print(f"failed: {name}: {error}\n        {shown(log_of(name))}")
    return 1 if failed else 0

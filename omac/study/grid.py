"""Which data sets and cells the study has: params.yaml's grid, line by line, as cells.yaml has them for dvc.yaml."""

import re
from itertools import product

import yaml

from omac.config.hyper import load_params
from omac.config.names import check_name, check_trained_on, read_yaml
from omac.config.params import ALGORITHMS, check_mapping
from omac.datasets.registry import DataSet
from omac.paths import ROOT, atomic, shown
from omac.schema import CONTROLS

ENTRY = ("map", "level", "dataset", "held", "algorithm", "variant")  # what cells.yaml says of a cell
CELL_DASHES = 4  # at least, in <source>-<map>-<level>-<part>-<algorithm>
HEAD = "# Written by `python -m omac grid` from params.yaml's grid: a line each, which dvc.yaml makes an item of.\n"


def plan(params):
    """Spell out the grid. Returns {"maps": [...], "raws": {...}, "datasets": {...}, "controls": {...}, "weights": {...}, "cells":
    {...}, "choosing": {...}}, each by name.

    A cell is an algorithm, or "<algorithm>-<variant>", on a data set. Raises ValueError for a name that means nothing.
    """
    grid = params["grid"]
    raws, datasets = {}, {}
    for block in grid["data"]:
        for map_name, level, part in product(block["maps"], block["levels"], block["parts"]):
            data = DataSet("smax", map_name, level, str(part))
            raws[data.raw] = {"map": map_name, "level": level}
            datasets[data.name] = {"raw": data.raw}
    cells, choosing = _cells(grid["cells"], datasets), _cells(grid["choosing"], datasets)
    controls = {}
    for block in grid["controls"]:
        for map_name, level, part in product(block["maps"], block["levels"], block["parts"]):
            controls[DataSet("smax", map_name, level, str(part)).name] = {"map": map_name, "level": level}
    weights = {d: {} for d in datasets if {f"{d}-omac", f"{d}-omac-wo_cca"} <= set(cells)}  # Figure 4's
    maps = list(dict.fromkeys(raw["map"] for raw in raws.values()))
    found = {"maps": maps, "raws": raws, "datasets": datasets, "controls": controls, "weights": weights}
    return {**found, "cells": cells, "choosing": choosing}


def _cells(blocks, datasets):
    """The cells of blocks, by name, as ENTRY has them. Raises ValueError for one whose data set the grid does not name."""
    cells = {}
    for block in blocks.values():
        for map_name, level, part, what in product(block["maps"], block["levels"], block["parts"], block["cells"]):
            data = DataSet("smax", map_name, level, str(part))
            if data.name not in datasets or data.held.name not in datasets:
                raise ValueError(
                    f"params.yaml, grid: a cell needs {data.name} and {data.held.name}: name them under data"
                )
            algorithm, _, variant = what.partition("-")
            entry = (map_name, level, data.name, data.held.name, algorithm, variant or "default")
            cells[f"{data.name}-{what}"] = dict(zip(ENTRY, entry, strict=True))
    return cells


def result_files(params):
    """List the names of the files of rows: <data set>-<algorithm>.csv, <data set>-<algorithm>-<variant>.csv, and of controls."""
    found = plan(params)
    return [f"{name}.csv" for name in found["cells"]] + [f"{d}-{c}.csv" for d in found["controls"] for c in CONTROLS]


def write_plan(path=ROOT / "cells.yaml", params=None):
    """Write the plan as YAML, a line an entry. Returns the path."""
    found = plan(params or load_params())
    lines = [HEAD, f"maps: [{', '.join(found.pop('maps'))}]\n"]
    for section, entries in found.items():
        lines.append(f"{section}:\n" if entries else f"{section}: {{}}\n")
        for name, entry in entries.items():
            flow = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=10_000).strip()
            lines.append(f"  {name}: {flow}\n")
    with atomic(path) as part:
        part.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def known_cells(path=ROOT / "cells.yaml"):
    """Read cells.yaml. Returns {name: {"map", "level", "dataset", "held", "algorithm", "variant"}}.

    Raises ValueError or FileNotFoundError, in one line, for a file that is missing, no YAML or of another form.
    """
    try:
        cells = check_mapping("the file", read_yaml(path), required=("cells",))["cells"]
        for name, cell in check_mapping("cells", cells).items():
            check_mapping(name, cell, ENTRY, ("dataset", "algorithm", "variant"))
            _check_entry(name, **{key: str(cell[key]) for key in ("dataset", "algorithm", "variant")})
    except ValueError as e:
        raise ValueError(f"{shown(path)}: {e}; `python -m omac grid` writes it anew") from None
    return cells


def _check_entry(name, dataset, algorithm, variant):
    """Raise ValueError for a cell whose name says another data set, algorithm or variant than its line, or one that is none.

    A name of another form, below which no table looks for rows, may stand for any cell, as long as it names a file.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ValueError(f"the name {name!r} is not made of letters, digits, _, - and dots; files are named by it")
    if name.count("-") < CELL_DASHES:
        return
    check_trained_on(dataset)
    DataSet.parse(dataset)
    check_name("algorithm", algorithm, ALGORITHMS, name)
    called = "-".join([dataset, algorithm, *([variant] if variant != "default" else [])])
    if name != called:
        raise ValueError(f"{name} is the name of a line that says {called}")


def is_current(path=ROOT / "cells.yaml", params=None):
    """Say whether cells.yaml is what params.yaml's grid says."""
    return read_yaml(path) == plan(params or load_params())

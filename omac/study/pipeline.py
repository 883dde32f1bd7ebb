"""The cells of the study as DVC has them: their names, what each is told, which are left."""

import difflib
import json
import subprocess
import sys
from fnmatch import fnmatchcase

from omac.config import load_params
from omac.paths import BUILD, ROOT
from omac.study.grid import known_cells

DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]
ENV = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "OMAC_PROGRESS": "0"}  # of a cell, as in the Makefile


def log_of(item):
    """build/logs/<item>.log; its folder is there."""
    path = BUILD / "logs" / f"{item}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def cells():
    """{item of dvc.yaml: {parameter: value} of the training notebook} of every cell, in the order of cells.yaml."""
    profile = load_params(ROOT / "params.yaml")["profile"]
    return {
        f"cell@{name}": {
            "dataset": cell["dataset"],
            "algorithm": cell["algorithm"],
            "variant": cell["variant"],
            "profile": profile,
            "out": f"data/results/{name}.csv",
        }
        for name, cell in known_cells(ROOT / "cells.yaml").items()
    }


def choose_cells(known, names):
    """The cells of `known` that `names` mean: cells or patterns such as '*-bc', with or without "cell@"; all for no names.

    Raises ValueError for a name that means none, with the nearest items.
    """
    items = {item.removeprefix("cell@"): item for item in known}
    chosen = set() if names else set(known)
    for name in names:
        found = {item for short, item in items.items() if fnmatchcase(short, name.removeprefix("cell@"))}
        if not found:
            near = ", ".join(difflib.get_close_matches(name, items, 3) or [*items][:3])
            raise ValueError(f"no cell of cells.yaml is called {name!r}; near it, of {len(known)}: {near}")
        chosen |= found
    return {item: cell for item, cell in known.items() if item in chosen}


def left(known):
    """The cells whose command, data, code, settings or rows are not those in dvc.lock. Raises RuntimeError as `dvc` does."""
    changed = json.loads(dvc("status", "--json", *known)) if known else {}
    return {item: cell for item, cell in known.items() if item in changed}


def dvc(*words):
    """Run a short DVC command; returns what it prints. Raises RuntimeError with its last words when it fails."""
    done = subprocess.run([*DVC, *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"dvc {words[0]} failed: {last_words(done.stdout + done.stderr)}")
    return done.stdout


def last_words(output):
    """The last line that is not DVC's own, where a traceback says what went wrong; DVC's last where there is no other."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith((">", "WARNING: ", "Running stage ", "ERROR: failed to rep"))]
    return (own or lines or ["it said nothing"])[-1]

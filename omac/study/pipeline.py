"""The cells of the study as DVC has them: their names, what each is told, which are left; and what DVC says, in one line."""

import json
import re
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import psutil

from omac.config.hyper import load_params
from omac.config.names import unknown
from omac.paths import BUILD, ROOT, WAIT
from omac.study.grid import known_cells

DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]
ENV = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "OMAC_PROGRESS": "0"}  # of a cell, as in the Makefile
BUSY = re.compile(r": '([^\n]+)' is busy, it is being blocked by:\n((?:  \(PID \d+\): [^\n]*\n?)+)")
HOLDER = re.compile(r"\(PID (\d+)\): ([^\n]*)")
KILLED = re.compile(r"exited with (-9|137)\b|DeadKernelError")
INVALID = re.compile(r"' is invalid( \(possible merge conflicts\))?\.$")
FILE = re.compile(r"dvc\.lock|dvc\.yaml|cells\.yaml|params\.yaml|\.dvc/tmp/rwlock")
EXCEPTION = re.compile(r"[A-Za-z_][\w.]*: ")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LONG = 500  # characters of an error at most


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
    """Return the cells of `known` that `names` mean: cells or patterns such as '*-bc', with or without "cell@"; all for no names.

    Raises ValueError for a name that means none, with the nearest items.
    """
    items = {item.removeprefix("cell@"): item for item in known}
    chosen = set() if names else set(known)
    for name in names:
        found = {item for short, item in items.items() if fnmatchcase(short, name.removeprefix("cell@"))}
        if not found:
            raise ValueError(f"cells.yaml: {unknown('cell or pattern', name, items)}")
        chosen |= found
    return {item: cell for item, cell in known.items() if item in chosen}


def left(known):
    """Return the cells whose command, data, code, settings or rows are not those in dvc.lock. Raises RuntimeError as `dvc` does."""
    changed = json.loads(dvc("status", "--json", *known)) if known else {}
    return {item: cell for item, cell in known.items() if item in changed}


def dvc(*words):
    """Run a short DVC command, and again while another DVC command works on its files.

    Returns:
        What it prints.
    Raises:
        RuntimeError: it failed; its reason in one line.
    """
    told = None
    while True:
        done = subprocess.run([*DVC, *words], cwd=ROOT, capture_output=True, text=True)
        if not done.returncode:
            return done.stdout
        busy = find_busy(done.stdout + done.stderr)
        if not (busy and busy.ends()):
            raise RuntimeError(f"dvc {words[0]} failed: {reason(done.stdout + done.stderr)}")
        if busy != told:
            print(busy.waiting(), flush=True)
        told = busy
        time.sleep(WAIT)


class Ended(NamedTuple):
    """How a cell ended: the seconds that it took, None where they are not known, and the error, "" where there is none."""

    seconds: float | None
    error: str


class Busy(NamedTuple):
    """A file that other processes work on, and they, {PID: command}, as DVC names them."""

    path: str
    holders: dict

    def ends(self):
        """Say whether to wait for it: every holder is a DVC command at work on this machine."""
        return all(map(_is_dvc, self.holders))

    def who(self):
        """Name the holders in a few words."""
        return " and ".join(f"PID {pid} ({command})" for pid, command in self.holders.items())

    def waiting(self):
        """Say that a command waits, and for whom."""
        return f"waiting: {self.path} is in use by another dvc, {self.who()}"

    def __str__(self):
        gone = [pid for pid in self.holders if not psutil.pid_exists(pid)]
        remedy = "wait for it to end, or end it, then run the same command again"
        if len(gone) == len(self.holders):  # DVC clears such entries by itself, on the machine where the process was
            remedy = "no such process runs on this machine any more: run the same command again"
        return f"{self.path} is in use by {self.who()}: {remedy}"


def find_busy(output):
    """Say what DVC says of files in use: Busy, or None where it says nothing of them."""
    found = BUSY.search(output)
    if not found:
        return None
    path = Path(found[1])
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else found[1]
    return Busy(name, {int(pid): command.strip() for pid, command in HOLDER.findall(found[2])})


def _is_dvc(pid):
    """Whether a process runs and is `dvc` or `python -m dvc`."""
    try:
        process = psutil.Process(pid)
        words = [Path(word) for word in process.cmdline()]
        return process.status() != psutil.STATUS_ZOMBIE and any(
            w.name in ("dvc", "dvc.exe") or (w.name == "__main__.py" and w.parent.name == "dvc") for w in words
        )
    except psutil.Error:
        return False


def reason(output):
    """Say in one line why DVC, or what it ran, failed, from all that it printed."""
    lines = [line.strip() for line in COLOUR.sub("", output).splitlines() if line.strip()]
    busy = find_busy(output)
    if busy:
        return str(busy)
    if KILLED.search(output):
        return "killed from outside, mostly for want of memory: run fewer cells side by side (--jobs 1)"
    own = [line for line in lines if not line.startswith((">", "WARNING: ", "Running stage ", "ERROR: "))]
    began = next((i for i, line in enumerate(lines) if line.startswith("ERROR: ") or INVALID.search(line)), None)
    said = "" if began is None else " ".join(lines[began:]).removeprefix("ERROR: ")
    if "not a git repository" in said:
        return f"{said}: without git, run `dvc config core.no_scm true` once"
    file = FILE.search(said)
    if file and "failed to run" not in said:
        return f"{said.rstrip('.')}: {_remedy(file[0], said)}"
    return _last_exception(own) or said or "it said nothing"


def _last_exception(lines):
    """The last exception of a traceback, with all lines of its message as one; the last line where there is none."""
    heads = [i for i, line in enumerate(lines) if EXCEPTION.match(line)]
    said = " ".join(lines[heads[-1] :] if heads else lines[-1:])
    return said if len(said) <= LONG else f"{said[:LONG]} ..."


def _remedy(file, said):
    """What to do about a file that DVC cannot read."""
    if "rwlock" in file:
        return "a dvc command was broken off while it wrote it; when none runs in this checkout any more, delete it"
    anew = ", or write cells.yaml anew with `python -m omac grid`" if "Could not find" in said else ""
    return f"mend it, or restore it with `git checkout -- {file}`{anew}"

"""The cells of the study as DVC has them: their names, what each is told, which are left."""

import difflib
import json
import shlex
import subprocess
import sys
from fnmatch import fnmatchcase

from omac.paths import ROOT

TEMPLATE = "notebooks/03_train.ipynb"  # a stage of dvc.yaml that gives it parameters is a cell
DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]


def cells():
    """{item: {parameter: value} that its command gives the notebook} of every cell, in the order of dvc.yaml."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        commands = {s.name: shlex.split(s.cmd) for s in repo.index.stages if isinstance(s.cmd, str)}
    known = {item: words for item, words in commands.items() if TEMPLATE in words and "-p" in words}
    return {
        item: {words[i + 1]: words[i + 2] for i, w in enumerate(words) if w == "-p"} for item, words in known.items()
    }


def choose(known, names):
    """The cells of `known` that `names` mean: items, stages or patterns such as 'train@*-bc'; all for no names.

    Raises ValueError for a name that means none, with the nearest items.
    """
    chosen = {i for n in names for i in known if n == i.split("@")[0] or fnmatchcase(i, n)} if names else set(known)
    for name in names:
        if not any(name == i.split("@")[0] or fnmatchcase(i, name) for i in known):
            near = ", ".join(difflib.get_close_matches(name, known, 3) or [*known][:3])
            raise ValueError(f"no cell of dvc.yaml is called {name!r}; near it, of {len(known)}: {near}")
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

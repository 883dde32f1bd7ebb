"""The package of the StarCraft Multi-Agent Challenge: whether it is here, the right one, and can be imported."""

import functools
import importlib.util
import os
import subprocess
import sys
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

HOW = "pip install -c requirements.txt -e '.[smac]' (from its git repository)"
GAME = "and install StarCraft II 4.10 with SC2PATH set"
IMPORT_SECONDS = 120  # seconds that its import may take
TRIAL = """
try:
    import smac.env
except BaseException as e:
    print("failed", f"{type(e).__name__}: {e}".splitlines()[0])
"""


def require_smac():
    """Raise RuntimeError unless the StarCraft Multi-Agent Challenge can be imported; tells PyPI's unrelated `smac` apart.

    The import is tried in a process of its own: a wrong version of protobuf may end the one that it is imported in.
    """
    try:
        found, right = importlib.util.find_spec("smac"), None
        right = found and importlib.util.find_spec("smac.env")
    except ImportError:
        found, right = True, None
    if not found:
        raise RuntimeError(
            f"the StarCraft Multi-Agent Challenge is not installed: {HOW} {GAME}. PyPI's package `smac` is another program"
        )
    if not right:
        raise RuntimeError(
            "the installed package `smac` is PyPI's SMAC3, a hyper-parameter optimiser: "
            f"pip uninstall smac, then {HOW} {GAME}"
        )
    trouble = _import_in_a_process(tuple(sys.path))
    if trouble:
        wrong = "; ".join(unmet("smac")) or "its requirements are met: reinstall it"
        raise RuntimeError(f"the package smac is here and cannot be imported ({trouble}): {wrong}: {HOW}")


@functools.cache
def _import_in_a_process(path):
    """How the import of smac.env from the folders `path` ends; "" when well."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    try:
        words = [sys.executable, "-c", TRIAL]
        done = subprocess.run(words, env=env, capture_output=True, text=True, errors="replace", timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"not done after {IMPORT_SECONDS} seconds"
    if done.returncode:
        return f"its process ended with {done.returncode}"
    said = [line for line in done.stdout.splitlines() if line.startswith("failed ")]
    return said[-1].removeprefix("failed ")[:200] if said else ""


def unmet(distribution):
    """Say which packages a distribution asks for in another version: "protobuf <3.21 is needed, 5.29.1 is here"."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            need = Requirement(line)
        except InvalidRequirement:
            continue
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            here = _version(need.name)
            if here is None or not need.specifier.contains(here, prereleases=True):
                found.append(f"{need.name} {need.specifier} is needed, {here or 'none'} is here")
    return found


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

"""What is installed and what this machine can run, on one screen. Nothing is imported that takes seconds, torch aside."""

import os
import platform
import re
import shutil
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from omac.config.hyper import load_params
from omac.envs import missing
from omac.paths import ROOT, project_version
from omac.study.grid import known_cells
from omac.study.machine import machine
from omac.training.trainer import pick_device

FOLDERS = ("data/raw", "data/episodes", "build", ".venv")
EXTRAS = {"vault": "tensorstore", "dask": "distributed", "smac": "smac", "site": "sphinx"}  # extra: a package of it


def report():
    """Describe the installation.

    Returns:
        Text, a line for each subject.
    """
    lines = {
        "omac": f"{project_version()}, in {ROOT}",
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "packages": packages(),
        "extras": ", ".join(f"{extra}: {installed(name) or 'not installed'}" for extra, name in EXTRAS.items()),
        "device": device(),
        "processor": f"{machine()}; {os.cpu_count()} cores",
        "memory": memory(),
        "disk": disk(),
        **simulators(),
        "data here": f"{len(list((ROOT / 'data' / 'episodes').glob('*.h5')))} data sets; missing ones are made on demand",
        "study": study(),
        "environment": " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("OMAC_"))
        or "no OMAC_*",
    }
    return "\n".join(f"{name:<12} {text}" for name, text in lines.items())


def installed(package):
    """Return a package's version without its build, "" where it is not installed."""
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return ""


def locked(text):
    """Read a lock: {package: version}."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.M))


def packages(lock=None, found=installed):
    """Hold the packages that pyproject.toml asks for against the lock.

    Args:
        lock: {package: version}. Default: requirements.txt's.
        found: says which version of a package is installed.
    """
    lock = locked((ROOT / "requirements.txt").read_text(encoding="utf-8", errors="replace")) if lock is None else lock
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]]
    if absent := [name for name in asked if name not in lock]:
        return f"requirements.txt does not name {', '.join(absent)}: restore it with `git checkout -- requirements.txt`"
    other = [f"{name} {found(name) or 'missing'} (locked: {lock[name]})" for name in asked if found(name) != lock[name]]
    if other:
        return f"{', '.join(other)}: `make setup` installs what requirements.txt names"
    return f"all {len(asked)} as requirements.txt has them: torch {lock['torch']}, jax {lock['jax']}, jaxmarl {lock['jaxmarl']}"


def device():
    """Say what `--device auto` trains on."""
    chosen = pick_device("auto")
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "no GPU that torch sees"
    return f"{chosen} ({name})"


def memory():
    """Say how much memory there is, and how much of it is free."""
    found = psutil.virtual_memory()
    return f"{found.total / 2**30:.1f} GiB, {found.available / 2**30:.1f} available"


def disk():
    """Say how much room is left where the checkout lies, and what its large folders hold."""
    sizes = [f"{name} {folder_size(ROOT / name) / 2**30:.1f}" for name in FOLDERS if (ROOT / name).is_dir()]
    return f"{shutil.disk_usage(ROOT).free / 2**30:.1f} GiB free; in use: {', '.join(sizes)}"


def folder_size(folder):
    """Add up the sizes of the files below a folder, in bytes."""
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)


def simulators():
    """Say of each simulator whether battles can be fought in it here."""
    smax = installed("jaxmarl") and installed("jax")
    return {
        "SMAX": f"jaxmarl {installed('jaxmarl')}, jax {installed('jax')}" if smax else "not installed: `make setup`",
        "StarCraft II": missing("smac:3m").split(". ")[0] or "installed",
    }


def study():
    """Say how many cells of the study have their rows here."""
    cells = known_cells()
    done = sum((ROOT / "data" / "results" / f"{name}.csv").is_file() for name in cells)
    return f"profile {load_params()['profile']}; {done} of {len(cells)} cells have rows in data/results"

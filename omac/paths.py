"""Absolute paths: papermill, nbval, DVC and JupyterLab each run code from a different folder."""

import contextlib
import os
from pathlib import Path


def find_root(start=None):
    """The checkout that the current folder belongs to: the nearest parent that holds dvc.yaml.

    start: folder to search from, default the current one. Returns a Path. The installed package's own
    parent is the fallback. Raises FileNotFoundError when neither is a checkout.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no dvc.yaml in {here} or above it: run this inside a checkout of the repository")


ROOT = find_root()
RAW = ROOT / "data" / "raw"
EPISODES = ROOT / "data" / "episodes"
BEHAVIOUR = ROOT / "data" / "behaviour"
BUILD = ROOT / "build"
FIGURES = ROOT / os.environ.get(
    "OMAC_FIGURES", "build/figures"
)  # the pipeline alone sets it to figures/, which is in git


def shown(path):
    """A path as messages and notebooks print it: relative to the checkout where it lies inside."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; rename it into place on success, remove it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)

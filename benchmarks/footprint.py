"""What a container of the project would hold: sizes of an installation, and the walkthrough's peak memory at the smoke profile.

In a fresh clone, after `make setup`: `.venv/bin/python benchmarks/footprint.py` writes the table of docs/install.md.
"""

import os
import re
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "install.md"
MB = 10**6
EVERY = 0.1  # seconds between two looks at the memory
WALKTHROUGH = "-m papermill --no-progress-bar 00_quickstart.ipynb"


def downloaded():
    """Return the bytes of all wheels of the lock, as pip fetches them for this Python and system."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["download", "-q", "--no-deps", "-r", ROOT / "requirements.txt", "-d", folder]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
        return size(folder)


def size(folder):
    """Return the bytes of all files under a folder."""
    return sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file() and not f.is_symlink())


def resident(process):
    """Return the bytes of memory that a process and its descendants hold; memory that they share counts for each."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:  # ended since it was listed
            continue
    return total


def peak_of_the_walkthrough():
    """Run notebooks/00_quickstart.ipynb at the smoke profile, as a machine does that has compiled nothing yet.

    Returns:
        The most bytes that papermill and the kernel held together, or the kernel alone where that is more: two looks may
        miss what is between them.
    """
    peak = 0
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "OMAC_PROFILE": "smoke", "OMAC_PROGRESS": "0", "OMAC_JAX_CACHE": folder}
        words = [sys.executable, *WALKTHROUGH.split(), f"{folder}/done.ipynb"]
        process = psutil.Popen(words, cwd=ROOT / "notebooks", env=env)
        while process.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(EVERY)
    if process.returncode:
        raise RuntimeError("the walkthrough did not run to its end: see above")
    return max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def with_sizes(text, sizes):
    """Put measured sizes into the table of docs/install.md.

    Args:
        text: the page.
        sizes: {first words of a row: the row's name and bytes}.
    Returns:
        The page with the new rows.
    Raises:
        ValueError: the page has no such row.
    """
    for start, (name, count) in sizes.items():
        text, found = re.subn(rf"^\| {start}.*\|$", f"| {name} | {count / MB:.0f} |", text, flags=re.M)
        if found != 1:
            raise ValueError(f"docs/install.md has {found} rows that begin with {start!r}, not one")
    return text


def main():
    """Measure, and write docs/install.md."""
    packages = len(list(distributions()))
    sizes = {
        "downloaded": ("downloaded, all wheels", downloaded()),
        "installed": (f"installed, {packages} packages", size(sysconfig.get_path("purelib"))),
        "peak memory": ("peak memory of the walkthrough at the smoke profile", peak_of_the_walkthrough()),
    }
    PAGE.write_text(with_sizes(PAGE.read_text(encoding="utf-8"), sizes), encoding="utf-8")
    print(*(f"{name}: {count / MB:.0f} MB" for name, count in sizes.values()), sep="\n")


if __name__ == "__main__":
    main()

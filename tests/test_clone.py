"""A fresh clone has nothing to repeat: what is committed is what the pipeline would make."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from omac.paths import ROOT

pytestmark = pytest.mark.slow


def run(folder, *words):
    """What a command prints, in a clone whose own package is the one that is imported."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the last commit."""
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("clone") / "omac"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return folder


def test_dvc_repro_on_a_clone_trains_nothing_and_leaves_git_and_dvc_clean(clone):
    said = run(clone, sys.executable, "-m", "dvc", "repro")
    begun = [line for line in said.splitlines() if line.startswith("Running stage")]
    assert begun == ["Running stage 'code':"], said
    assert run(clone, "git", "status", "--porcelain") == ""
    assert "Data and pipelines are up to date" in run(clone, sys.executable, "-m", "dvc", "status")


def test_only_what_a_change_touches_is_run_again(clone):
    """A comment changes no export; an algorithm's code makes its own cells stale, and no other."""
    bc = clone / "omac" / "algorithms" / "bc.py"
    text = bc.read_text()
    bc.write_text(text + "\n# a comment\n")
    run(clone, sys.executable, "-m", "omac", "code")
    assert "cell@" not in run(clone, sys.executable, "-m", "dvc", "status")
    bc.write_text(text + "\nMORE = 1\n")
    run(clone, sys.executable, "-m", "omac", "code")
    stale = [
        w.strip(" :") for w in run(clone, sys.executable, "-m", "dvc", "status").splitlines() if w.startswith("cell@")
    ]
    assert stale and all(re.search(r"-bc(-\w+)?$", name) for name in stale)

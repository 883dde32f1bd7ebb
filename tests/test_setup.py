"""`make setup` finishes what it says it made: the Makefile's own rules with a Python that only makes folders."""

import shutil
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
from packaging.specifiers import SpecifierSet

from omac.paths import ROOT

pytestmark = pytest.mark.slow

# Knows `-c`, `-m venv` and `-m pip`. It has pip where a file `pip` lies beside it. Installing packages fails where the
# working folder holds a file `offline`, and takes two seconds where it holds a file `slow`.
PYTHON = """#!{executable} -ISE
import pathlib, platform, shutil, sys
here = pathlib.Path(sys.argv[0]).parent
sys.version_info = {version}
platform.python_version = lambda: ".".join(map(str, {version}))
match sys.argv[1:]:
    case ["-c", program]:
        exec(program)
    case ["-m", "venv", "--clear", folder]:
        shutil.rmtree(folder, ignore_errors=True)
        made = pathlib.Path(folder) / "bin"
        made.mkdir(parents=True)
        (made / "pip").touch()
        shutil.copy(sys.argv[0], made / "python")
    case ["-m", "pip", *words]:
        if not (here / "pip").exists():
            sys.exit("No module named pip")
        if "install" in words:
            (here / "uv").write_text("#!/bin/sh\\nset -e\\ntest ! -e offline\\ntest ! -e slow || sleep 2\\necho installed >> installed\\n")
            (here / "uv").chmod(0o755)
"""


TOOLS = ["make", "cat", "cmp", "grep", "mv", "rm"]


class Checkout:
    """The files that `make setup` reads, in a folder of their own, beside Pythons of any version and no real one."""

    def __init__(self, folder):
        self.folder, self.venv = folder, folder / ".venv"
        (folder / "tools").mkdir()
        for tool in TOOLS:
            (folder / "tools" / tool).symlink_to(shutil.which(tool))
        for name in ("Makefile", "requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)

    def python(self, minor, where="pythons"):
        path = self.folder / where / f"python3.{minor}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PYTHON.format(executable=sys.executable, version=(3, minor, 1)))
        path.chmod(0o755)
        return path

    def setup(self, *words):
        env = {"PATH": f"{self.folder / 'pythons'}:{self.folder / 'tools'}"}
        return subprocess.run(["make", "setup", *words], cwd=self.folder, env=env, capture_output=True, text=True)

    def installs(self):
        path = self.folder / "installed"
        return path.read_text().count("\n") if path.exists() else 0

    def made_with(self):
        return (self.venv / ".ready").read_text().splitlines()[0]


@pytest.fixture
def checkout(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.python(11)
    return checkout


def test_setup_replaces_an_environment_that_has_no_pip(checkout):
    broken = checkout.python(11, ".venv/bin")
    broken.rename(broken.with_name("python"))
    assert checkout.setup().returncode == 0
    assert checkout.made_with() == "3.11" and (checkout.venv / "bin" / "pip").exists() and checkout.installs() == 1


def test_setup_starts_again_after_an_install_that_broke_off(checkout):
    (checkout.folder / "offline").touch()
    assert checkout.setup().returncode != 0
    (checkout.venv / "half-a-package").touch()
    assert not (checkout.venv / ".ready").exists() and checkout.installs() == 0
    (checkout.folder / "offline").unlink()
    assert checkout.setup().returncode == 0
    assert checkout.made_with() == "3.11" and not (checkout.venv / "half-a-package").exists()


def test_an_update_that_broke_off_is_not_taken_for_finished(checkout):
    assert checkout.setup().returncode == 0
    with open(checkout.folder / "requirements.txt", "a") as file:
        file.write("one-more==1.0\n")
    (checkout.folder / "offline").touch()
    assert checkout.setup().returncode != 0
    assert checkout.setup().returncode != 0
    (checkout.folder / "offline").unlink()
    assert checkout.setup().returncode == 0 and checkout.installs() == 2


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_setup_runs_once_and_installs_again_when_a_file_changes(checkout, name):
    checkout.setup()
    (checkout.venv / "kept").touch()
    (checkout.folder / name).touch()
    assert checkout.setup().returncode == 0 and checkout.installs() == 1
    with open(checkout.folder / name, "a") as file:
        file.write("# another\n")
    assert checkout.setup().returncode == 0 and checkout.installs() == 2
    assert (checkout.venv / "kept").exists() and checkout.setup().returncode == 0 and checkout.installs() == 2


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not here, and nobody waits without it")
def test_of_two_setups_at_once_the_second_waits_and_finds_it_done(checkout):
    for tool in ("flock", "sleep", "true"):
        (checkout.folder / "tools" / tool).symlink_to(shutil.which(tool))
    (checkout.folder / "slow").touch()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(checkout.setup)
        while not (checkout.venv / "bin" / "uv").exists() and not first.done():
            time.sleep(0.05)
        second = checkout.setup()
    assert (first.result().returncode, second.returncode) == (0, 0) and checkout.installs() == 1
    assert "waiting: another make sets up .venv" in second.stdout and "waiting" not in first.result().stdout
    (checkout.folder / "slow").unlink()
    (checkout.folder / "offline").touch()  # one that fails holds nothing any longer
    (checkout.venv / ".ready").unlink()
    assert checkout.setup().returncode != 0
    (checkout.folder / "offline").unlink()
    assert checkout.setup().returncode == 0 and checkout.installs() == 2


def test_another_python_makes_another_environment_that_later_commands_keep(checkout):
    checkout.setup()
    assert checkout.setup(f"PYTHON={checkout.python(12)}").returncode == 0
    assert checkout.made_with() == "3.12" and checkout.installs() == 2
    assert checkout.setup().returncode == 0 and checkout.made_with() == "3.12" and checkout.installs() == 2


@pytest.mark.parametrize("minor", range(10, 15))
def test_the_makefile_takes_the_pythons_of_pyproject(checkout, minor):
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    run = checkout.setup(f"PYTHON={checkout.python(minor, 'other')}")
    assert (run.returncode == 0) == SpecifierSet(needed).contains(f"3.{minor}.1")
    if run.returncode:
        told = [line for line in run.stderr.splitlines() if not line.startswith("make")]
        assert (
            len(told) == 1 and f"python3.{minor} (3.{minor}.1)" in told[0] and "3.11, 3.12 or 3.13 is needed" in told[0]
        )
        assert not checkout.venv.exists()


def test_the_python_of_the_committed_results_is_preferred(checkout):
    checkout.python(12)
    checkout.python(13)
    assert checkout.setup().returncode == 0 and checkout.made_with() == "3.11"
    shutil.rmtree(checkout.venv)
    (checkout.folder / "pythons" / "python3.11").unlink()
    assert checkout.setup().returncode == 0 and checkout.made_with() == "3.12"

"""The commands of the README, in its order, in a clean clone without a virtual environment, at the smoke profile.

Whatever the README shows as code and a shell can run is run, as it stands. INSTEAD names the commands that take long by
nature, need a network beyond the package index, or do not end; what is run in their place; and why.
"""

import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from omac.paths import ROOT

README = (ROOT / "README.md").read_text()
PROGRAMS = r"(?:(?:make|python|pytest|papermill|omac|git|\.) |\.venv/bin/)"
LIMIT = 1800  # seconds that one command may take where the machine is busy
JUPYTER = ".venv/bin/jupyter lab notebooks/00_quickstart.ipynb"

# A command, what is run in its place, and why. `make -n` shows what make would run: each line of INSTEAD's lists is one
# that make calls, with a selection.
INSTEAD = {
    "make test": (
        [".venv/bin/pytest -q tests/test_cli.py", ".venv/bin/pytest -q --nbval notebooks/02_method.ipynb"],
        "half an hour, and this test is among them: one file of tests, one notebook",
    ),
    "make repro": (
        ["PATH=.venv/bin:$PATH dvc repro pull subsample code"],
        "trains the cells that are left, for hours: its first line, which finds nothing to do (test_clone has dvc repro)",
    ),
    "make figures": (
        [
            ".venv/bin/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/04_*.ipynb"
        ],
        "six notebooks, some minutes: one of them",
    ),
    "make verify": ([".venv/bin/python -m omac verify --help"], "ten minutes: test_verify has it on small data"),
    "make site": ([], "fetches Sphinx and builds for a minute: test_site has it"),
    "python -m omac pull odis 3m medium": (
        ["python -m omac pull --help"],
        "fetches from another host than the package index: test_mirrors has it from a local one",
    ),
    "python -m omac table build/my.csv --against data/results.csv": (
        ["python -m omac table build/my.csv --against build/my.csv"],
        "the committed rows are of the profile laptop: beside rows of the profile smoke",
    ),
    "pytest tests/test_seventh_algorithm.py": (
        ["pytest -q tests/test_seventh_algorithm.py -k marwil"],
        "some minutes for all algorithms: one of the two examples",
    ),
    "omac train": (["omac train --help"], "a name, without the words that it needs: test_cli has it"),
}


def commands(text):
    """The commands of a Markdown text, in its order, each once: lines of fenced blocks, and spans with a word of their own."""
    found = []
    for block, span in re.findall(r"^```\n(.*?)^```$|`([^`\n]+)`", text, re.M | re.S):
        lines = block.splitlines() or [span]
        found += [line for line in lines if re.match(PROGRAMS, line)]
    return list(dict.fromkeys(found))


def test_commands_are_lines_of_blocks_and_spans_each_once_in_order():
    text = "`make a`\n```\n. .venv/bin/activate\nmake b\n```\n`omac/x.py` `make a` `python -m omac c`\n```bibtex\nmake d\n```\n"
    assert commands(text) == ["make a", ". .venv/bin/activate", "make b", "python -m omac c"]


def test_every_command_that_is_not_run_as_it_stands_is_one_of_the_readme():
    assert set(INSTEAD) <= set(commands(README)) and JUPYTER in commands(README)


class Newcomer:
    """A clone of the last commit, and the shell of a person who has never seen it."""

    def __init__(self, folder):
        self.folder, self.activated, self.took = folder, "", {}
        own = str(Path(sys.prefix) / "bin")  # the environment that the tests run in is none of a newcomer's
        path = [
            x for x in os.environ["PATH"].split(os.pathsep) if x and str(Path(x).resolve()) != str(Path(own).resolve())
        ]
        kept = r"(?!PYTHON|VIRTUAL_ENV|PYTEST|OMAC_|OMP_|XLA_|JUPYTER|MAKE)"
        self.env = {name: value for name, value in os.environ.items() if re.match(kept, name)}
        self.env |= {"PATH": os.pathsep.join([*path, str(Path(sys.base_prefix) / "bin")]), "OMAC_PROFILE": "smoke"}
        self.env |= {
            f"JUPYTER_{x}_DIR": str(folder.parent / "jupyter" / x.lower()) for x in ("CONFIG", "DATA", "RUNTIME")
        }

    def shell(self, line):
        """Start a line in bash, after the activation that the README has asked for so far."""
        words = ["bash", "-c", f"{self.activated}{line}"]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(words, cwd=self.folder, env=self.env, **pipes)

    def type(self, line):
        """Run a line to its end; what it printed."""
        begun = time.monotonic()
        process = self.shell(line)
        try:
            said = process.communicate(timeout=LIMIT)[0]
        finally:
            process.kill()
        self.took[line] = time.monotonic() - begun
        assert process.returncode == 0, f"{line}\n{said[-4000:]}"
        if line.startswith(". "):
            self.activated = f"{line}\n"
        return said

    def open_jupyter(self, line):
        """Start JupyterLab without a browser, ask it for its page, the notebook and the kernels, and end it."""
        root = " --allow-root" if os.geteuid() == 0 else ""  # else Jupyter refuses to run as root
        process = self.shell(f"exec {line} --no-browser{root}")
        end = threading.Timer(LIMIT, process.kill)
        end.start()
        try:
            said = ""
            while not (found := re.search(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)", said)):
                more = process.stdout.readline()
                assert more, f"JupyterLab ended: {said[-4000:]}"
                said += more
            address, token = found.groups()
            for place in ("lab/tree/00_quickstart.ipynb", "api/contents/00_quickstart.ipynb", "api/kernelspecs"):
                assert ask(f"{address}/{place}?token={token}", process) == 200, place
        finally:
            end.cancel()
            process.terminate()
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:  # it did not end when it was asked to
                process.kill()
                process.communicate()


def ask(address, process):
    """The status of a page that a server answers, which may have printed its address before it listens there."""
    while True:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return answer.status
        except urllib.error.URLError as e:
            if not isinstance(e.reason, ConnectionRefusedError) or process.poll() is not None:
                raise
            time.sleep(0.5)  # the timer that ends the server ends this too


@pytest.fixture
def newcomer(tmp_path):
    """A clone of the last commit, without .venv."""
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout: there is nothing to clone")
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "omac")], check=True)
    return Newcomer(tmp_path / "omac")


@pytest.mark.slow
def test_every_command_of_the_readme_works_in_its_order_on_a_clean_clone(newcomer):
    assert not (newcomer.folder / ".venv").exists()
    for command in commands(README):
        if command == JUPYTER:
            newcomer.open_jupyter(command)
        elif command in INSTEAD:
            if command.startswith("make "):
                newcomer.type(command.replace("make", "make -n", 1))
            for line in INSTEAD[command][0]:
                newcomer.type(line)
        else:  # a cell by hand is of the study's profile, which takes five minutes
            newcomer.type(command.replace("-p profile laptop", "-p profile smoke"))
    assert (newcomer.folder / "build" / "smoke" / "results.csv").is_file()
    assert newcomer.type("git status --porcelain") == "", "a command of the README rewrites a file of git"
    print(*(f"{seconds:6.1f} s  {line}" for line, seconds in newcomer.took.items()), sep="\n")

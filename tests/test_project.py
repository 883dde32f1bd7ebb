"""The project keeps its own promises: set-up in step, code export, notebooks; README and docs: test_docs.py."""

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement

from omac import cli
from omac.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = {
    m[1].lower().replace("_", "-"): m[2]
    for m in re.finditer(r"^([\w.-]+)==([\w.]+)(?: ;.*)?$", (ROOT / "requirements.txt").read_text(), re.M)
}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_lock_satisfies_pyproject_and_names_no_platform():
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["vault"], *extras["test"], *extras["dev"]]:
        need = Requirement(line)
        assert need.specifier.contains(LOCK[need.name]), f"{line} against {LOCK[need.name]}: run `make lock`"
    assert not re.search(r"nvidia|cuda|triton|\+cpu|file:|https?:", (ROOT / "requirements.txt").read_text())


SYSTEMS = {"linux": ("Linux", "posix"), "darwin": ("Darwin", "posix"), "win32": ("Windows", "nt")}
ELSEWHERE = {  # what exists on some systems only
    "linux": {"appnope", "pywin32", "pywinpty"},
    "darwin": {"pywin32", "pywinpty"},
    "win32": {"appnope", "ptyprocess", "uvloop"},
}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_one_lock_pins_the_same_versions_for_every_python_and_system(python, system):
    platform, os_name = SYSTEMS[system]
    here = {"python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython"}
    here |= {"sys_platform": system, "platform_system": platform, "os_name": os_name}
    lines = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines()]
    names = [line.name for line in lines if line.marker is None or line.marker.evaluate(here)]
    assert len(names) == len(set(names)) and not ELSEWHERE[system] & set(names)
    assert {Requirement(line).name for line in PROJECT["dependencies"]} <= set(names)
    assert len(lines) == len({line.name for line in lines}) == len(LOCK), "one version of each, pinned with =="


def test_the_lock_leaves_room_for_the_package_of_starcraft_ii():
    """The package refuses protobuf 3.21 and newer; with the lock's, `pip install -e '.[smac]'` changes no locked package."""
    from packaging.version import Version

    assert Version(LOCK["protobuf"]) < Version("3.21")


def test_the_linter_is_pinned_and_runs_in_ci_and_before_commits():
    assert any(line.startswith("ruff==") for line in PROJECT["optional-dependencies"]["dev"])
    assert re.search(r"^make lint$", (ROOT / ".ci" / "run").read_text(), re.M)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [" ".join(hook["entry"].split()[:2]) for hook in hooks] == [".venv/bin/ruff check", ".venv/bin/ruff format"]


CPU = "--extra-index-url https://download.pytorch.org/whl/cpu"


def test_environment_yml_is_python_pip_and_the_lock_with_the_index_of_cpu_builds():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, files = env["dependencies"]
    assert pip == "pip" and files == {"pip": [CPU, "-r requirements.txt", "-e ."]}
    from packaging.specifiers import SpecifierSet

    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python=") + ".0")


def wheel(folder, name, version, *needs):
    """An empty package, as a wheel."""
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        file.writestr(f"{about}/METADATA", head + "".join(f"Requires-Dist: {need}\n" for need in needs))
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")


@pytest.mark.slow
def test_no_cuda_build_of_torch_can_come_from_environment_yml(tmp_path):
    """Both builds lie before pip, the CUDA one with its libraries; pip takes the CPU build for the lock's own line."""
    version = LOCK["torch"]
    wheel(tmp_path, "torch", version, "nvidia-cublas")
    wheel(tmp_path, "torch", f"{version}+cpu")
    wheel(tmp_path, "nvidia_cublas", "13.0")
    line = re.search(r"^torch==.*$", (ROOT / "requirements.txt").read_text(), re.M)[0]
    report = tmp_path / "report.json"
    words = [
        "install",
        "-q",
        "--dry-run",
        "--ignore-installed",
        "--no-index",
        "--find-links",
        tmp_path,
        "--report",
        report,
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | {
        "PIP_CONFIG_FILE": os.devnull
    }
    subprocess.run([sys.executable, "-m", "pip", *words, line], env=env, check=True, capture_output=True)
    chosen = [(p["metadata"]["name"], p["metadata"]["version"]) for p in json.loads(report.read_text())["install"]]
    assert chosen == [("torch", f"{version}+cpu")]


def test_the_command_omac_is_the_command_line():
    module, name = PROJECT["scripts"]["omac"].split(":")
    assert getattr(importlib.import_module(module), name) is cli.main


def test_smac_comes_from_its_git_repository_and_only_as_an_extra():
    assert not any(Requirement(d).name == "smac" for d in PROJECT["dependencies"]) and "smac" not in LOCK
    assert Requirement(PROJECT["optional-dependencies"]["smac"][0]).url == "git+https://github.com/oxwhirl/smac.git"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_executed_small_and_in_shape(path):
    notebook = json.loads(path.read_text())
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    assert (
        notebook["cells"][0]["source"][0].startswith("# ")
        and "two changes to try" in "".join(notebook["cells"][-1]["source"]).lower()
    )
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    assert [c["metadata"].get("tags") for c in cells].count(["parameters"]) == 1
    assert path.stat().st_size < 500_000 and notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert not {"widgets", "papermill"} & set(notebook["metadata"]) and not any(
        "execution" in c["metadata"] for c in cells
    )
    text = path.read_text()
    assert str(ROOT) not in text and "Warning" not in text and all(len(c["source"]) <= 24 for c in cells)


def displays(text):
    """The displayed formulas of a Markdown text; of several aligned rows, each row."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for formula in re.findall(r"\$\$.+?\$\$|\\\[.+?\\\]", text, re.S):
        rows = re.search(r"\\begin\{(align|gather|alignat|eqnarray)\*?\}", formula)
        yield from formula.split(r"\\") if rows else [formula]


def markdown_texts():
    """Every Markdown text of the project, (where it stands, text): files, cells and outputs of notebooks."""
    for path in ROOT.glob("*.md"):
        yield path.name, path.read_text()
    for folder in (f for f in ROOT.iterdir() if f.is_dir() and f.name[0] != "." and f.name != "build"):
        yield from ((str(path.relative_to(ROOT)), path.read_text()) for path in folder.rglob("*.md"))
    for path in NOTEBOOKS:
        for i, cell in enumerate(json.loads(path.read_text())["cells"]):
            if cell["cell_type"] == "markdown":
                yield f"{path.name}, cell {i}", "".join(cell["source"])
            for output in cell.get("outputs", []):
                kinds = {"text/markdown", "text/latex"} & output.get("data", {}).keys()
                yield from ((f"{path.name}, output of cell {i}", "".join(output["data"][kind])) for kind in kinds)


def test_no_displayed_formula_has_two_tags():
    """MathJax shows an error in place of a formula with two."""
    pair = r"a \tag{1} \\ b \tag{2}"
    assert [x.count("tag") for x in displays(f"$${pair}$$")] == [2]
    assert [x.count("tag") for x in displays(rf"$$\begin{{align}}{pair}\end{{align}}$$")] == [1, 1]
    formulas = [(where, x) for where, text in markdown_texts() for x in displays(text)]
    assert any(r"\tag{10}" in x for _, x in formulas)
    wrong = [where for where, x in formulas if len(re.findall(r"\\tag\*?\{", x)) > 1]
    assert not wrong, f"{wrong}: two equations are two displays"


def test_the_top_level_is_the_prescribed_one():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    top = {t.split("/")[0] for t in tracked}
    assert {"notebooks", "omac", "data", "figures", "dvc.yaml", "environment.yml", "README.md"} <= top
    assert top <= {
        "notebooks",
        "omac",
        "data",
        "figures",
        "dvc.yaml",
        "environment.yml",
        "README.md",
        "params.yaml",
        "cells.yaml",
        "build",
        "docs",
        "examples",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        ".github",
        ".pre-commit-config.yaml",
        "dvc.lock",
        "pyproject.toml",
        "requirements.txt",
        "Makefile",
        "conftest.py",
        "tests",
        "benchmarks",
        "LICENSE",
        "CITATION.cff",
        ".ci",
        ".dvc",
        ".dvcignore",
        ".gitignore",
        ".gitattributes",
    }

"""Notebooks read like a book: links to their neighbours, pictures described, exercises that work."""

import ast
import json
import re
import subprocess
import sys

import pytest

from omac.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEMPLATE = "03_train"  # its code is part of every cell, so that a change of it runs all of them again
EXERCISES = [
    (path, text)
    for path in NOTEBOOKS
    for text in re.findall(r"^- (.+)$", "".join(json.loads(path.read_text())["cells"][-1]["source"]), re.M)
]


def cells(path, kind):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def parameters(path):
    """The names that a notebook's parameters have, and their values."""
    (cell,) = [c for c in cells(path, "code") if c["metadata"].get("tags") == ["parameters"]]
    found = {}
    for node in ast.parse(source(cell)).body:
        names = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
        values = node.value.elts if isinstance(node.targets[0], ast.Tuple) else [node.value]
        found |= {name.id: ast.unparse(value) for name, value in zip(names, values, strict=True)}
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_first_cell_leads_to_the_notebooks_before_and_after(path):
    first, i = source(cells(path, "markdown")[0]), NOTEBOOKS.index(path)
    neighbours = [NOTEBOOKS[k] for k in (i - 1, i + 1) if 0 <= k < len(NOTEBOOKS)]
    assert all(f"]({other.name})" in first for other in neighbours)
    assert re.search(r"\]\(\.\./docs/\w+\.md", first)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_picture_has_an_alternative_text(path):
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Image" and path.stem != TEMPLATE:
                (text,) = [k.value for k in node.keywords if k.arg == "alt"] or [ast.Constant("")]
                assert isinstance(text, ast.Constant) and len(text.value) >= 20, ast.unparse(node)
        for output in cell["outputs"]:
            for kind in (k for k in output.get("data", {}) if k.startswith("image/")):
                alt = output["metadata"].get(kind, {}).get("alt")
                assert alt, (
                    f"an output of {source(cell)[:60]!r}; 03's stand in the metadata of its cells, too: repeat them"
                )
    for cell in cells(path, "markdown"):
        assert not re.search(r"!\[\s*\]\(", source(cell))


def test_every_notebook_ends_with_two_changes_to_try():
    assert len(EXERCISES) == 2 * len(NOTEBOOKS)


@pytest.mark.parametrize(("path", "text"), EXERCISES, ids=lambda x: getattr(x, "stem", x)[:40])
def test_a_change_to_try_names_what_is_there(path, text):
    """Parameters that the notebook has, files that exist, constants with the value that is said."""
    known = parameters(path)
    for name, value in re.findall(r"`(\w+) = ([^`]+)`", text):
        if value != "...":  # a line of the notebook's code
            assert known[name] != ast.unparse(ast.parse(value, mode="eval").body), f"{name} is {value} already"
    for file in re.findall(r"`((?:omac|data)/[\w/.]+)`", text):
        assert (ROOT / file).exists(), file
    for file, constant, value in re.findall(r"In `(omac/[\w/]+\.py)`, `(\w+)` from ([\d.]+) to", text):
        (said,) = re.findall(rf"^{constant} = ([\d.]+)", (ROOT / file).read_text(), re.M)
        assert float(said) == float(value)
    for variant in re.findall(r"`variant = \"(\w+)\"`", text):
        assert re.search(rf"^  {variant}: \{{.+\}}", (ROOT / "params.yaml").read_text(), re.M), variant


# those that are a parameter's other value, and take no run of their own
SETTINGS = [(path, dict(re.findall(r"`(\w+) = ([^`]+)`", text))) for path, text in EXERCISES]
SETTINGS = [(path, found) for path, found in SETTINGS if found and "..." not in found.values()]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "found"), SETTINGS, ids=lambda x: getattr(x, "stem", "") or "-".join(x))
def test_a_change_to_try_runs_to_the_end_at_the_smoke_profile(path, found, tmp_path, monkeypatch):
    monkeypatch.setenv("OMAC_PROFILE", "smoke")
    values = "{" + ", ".join(f"{name}: {value}" for name, value in found.items()) + "}"
    words = ["papermill", "--no-progress-bar", str(path), str(tmp_path / path.name), "--cwd", str(path.parent)]
    done = subprocess.run([sys.executable, "-m", *words, "-y", values], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]

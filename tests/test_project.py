"""The project keeps its own promises: set-up in step, code export, notebooks, README."""

import ast
import json
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from omac import code
from omac.algorithms import REGISTRY
from omac.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = {
    m[1].lower().replace("_", "-"): m[2]
    for m in re.finditer(r"^([\w.-]+)==([\w.]+)$", (ROOT / "requirements.txt").read_text(), re.M)
}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_the_lock_satisfies_pyproject_and_names_no_platform():
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["vault"], *extras["test"]]:
        need = Requirement(line)
        assert need.specifier.contains(LOCK[need.name]), f"{line} against {LOCK[need.name]}: run `make lock`"
    assert not re.search(r"nvidia|\+cpu|file:|https?:", (ROOT / "requirements.txt").read_text())


def test_environment_yml_is_python_pip_and_those_two():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, files = env["dependencies"]
    assert pip == "pip" and files == {"pip": ["-r requirements.txt", "-e ."]}
    from packaging.specifiers import SpecifierSet

    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python=") + ".0")


def test_smac_comes_from_its_git_repository_and_only_as_an_extra():
    assert not any(Requirement(d).name == "smac" for d in PROJECT["dependencies"]) and "smac" not in LOCK
    assert Requirement(PROJECT["optional-dependencies"]["smac"][0]).url == "git+https://github.com/oxwhirl/smac.git"


# What shows, names, checks or registers changes no result; config.py's values stand in params.yaml, which DVC watches.
SILENT = {
    "omac/figures.py",
    "omac/results.py",
    "omac/paths.py",
    "omac/progress.py",
    "omac/checks.py",
    "omac/hdf5.py",
    "omac/config.py",
    "omac/code.py",
    "omac/__init__.py",
    "omac/algorithms/__init__.py",
    "omac/envs/toy.py",
    "omac/envs/smac.py",
    "omac/envs/smac_slot.py",
    "omac/envs/smac_worker.py",
    "omac/envs/madt.py",
}
DATA = {
    "omac/levels.py",
    "omac/sources/__init__.py",
    "omac/sources/smax.py",
}  # reach a cell through the data file alone
FOREIGN = {f"omac/sources/{p.name}" for p in (ROOT / "omac" / "sources").glob("*.py")} - DATA  # other data than SMAX's
ALGORITHMS = {f"omac/algorithms/{name}.py" for name in REGISTRY}
CELL = {"omac/training.py", "omac/replay.py", "omac/losses.py", "omac/igm.py", "omac/algorithms/common.py"} | ALGORITHMS
USES = {"omar": {"omac/algorithms/cql.py"}}  # the algorithms that are made of another one's functions


@pytest.mark.parametrize(
    ("key", "roots", "elsewhere"),
    [
        *(
            (
                name,
                ["omac/study.py", "omac/envs/smax.py"],
                DATA | FOREIGN | ALGORITHMS - {f"omac/algorithms/{name}.py"} - USES.get(name, set()),
            )
            for name in REGISTRY
        ),
        ("pull", ["omac/sources/__init__.py", "omac/envs/smax.py"], CELL | FOREIGN),
    ],
)
def test_every_module_a_stage_runs_through_is_watched_by_dvc(key, roots, elsewhere):
    """Whatever a stage imports of omac, directly or not, is in its code export, but for what only shows, names or checks."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    listed = pipeline["stages"]["code"]["foreach"][key].replace("${cell}", pipeline["vars"][0]["cell"]).split()
    reached, todo = set(), list(roots)
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "omac":
                for path in (node.module, *(f"{node.module}.{a.name}" for a in node.names)):
                    base = path.replace(".", "/")
                    todo += [f for f in (f"{base}.py", f"{base}/__init__.py") if (ROOT / f).exists()]
    assert reached - SILENT - elsewhere <= set(listed)
    assert set(listed) - {"notebooks/03_train.ipynb"} <= reached


def test_comments_docstrings_layout_and_outputs_do_not_change_the_code_export(tmp_path):
    a, b, c = tmp_path / "a.py", tmp_path / "b.py", tmp_path / "c.py"
    a.write_text('"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1  # why\n')
    b.write_text("def f( x ):\n\n    return (x\n        + 1)\n")
    c.write_text("def f(x):\n    return x + 2\n")
    assert code.source(a).strip() == code.source(b).strip() != code.source(c).strip()
    notebook = json.loads((ROOT / "notebooks" / "03_train.ipynb").read_text())
    before = code.source(ROOT / "notebooks" / "03_train.ipynb")
    for cell in notebook["cells"]:
        cell["metadata"], cell["outputs"] = {}, []
    (tmp_path / "n.ipynb").write_text(json.dumps(notebook))
    assert code.source(tmp_path / "n.ipynb") == before


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
    assert str(ROOT) not in text and "Warning" not in text and all(len(c["source"]) <= 20 for c in cells)


def test_the_readmes_equation_table_ticks_only_tests_that_exist():
    readme = (ROOT / "README.md").read_text()
    functions = {
        n.name
        for f in (ROOT / "tests").glob("test_*.py")
        for n in ast.walk(ast.parse(f.read_text()))
        if isinstance(n, ast.FunctionDef)
    }
    ticked = re.findall(r"^\|.*✓.*`(test_\w+)`", readme, re.M)
    assert len(ticked) >= 10
    missing = set(re.findall(r"`(test_\w+)`", readme)) - functions
    assert not missing
    for name in ("Eq. 1", "Eq. 2", "Eq. 3", "Eq. 5", "Eq. 6", "Eq. 8", "Algorithm 1"):
        assert re.search(rf"^\| {re.escape(name)}.*✓", readme, re.M), name


def test_the_readme_shows_the_committed_results_and_leaves_nothing_blank():
    import pandas as pd

    from omac.results import HEADLINE, arrival, difference, final_table, markdown, short, weighing

    readme = (ROOT / "README.md").read_text()
    assert not re.search(r"@[A-Z_]+@", readme)
    study, quick = (pd.read_csv(ROOT / "data" / name / "results.csv") for name in (".", "quick"))
    assert markdown(final_table(study)[HEADLINE]) in readme
    assert markdown(difference(study)) in readme and markdown(weighing(study)) in readme
    assert markdown(arrival(pd.concat([study, quick]))) in readme
    assert short(final_table(quick)).to_string(index=False) in readme


def test_the_readme_shows_the_committed_offline_results_of_real_data():
    import pandas as pd

    from omac.results import OFFLINE, arrival, markdown, offline

    rows = pd.concat([pd.read_csv(f) for f in sorted((ROOT / "data" / "real").glob("*.csv"))])
    readme, line = (ROOT / "README.md").read_text(), arrival(rows).iloc[0]
    assert markdown(offline(rows)[["map", "level", "algorithm", "profile", *OFFLINE.values()]]) in readme
    assert (
        f"after {line['Q_tot reaches it at step']} steps" in readme and f"({line['Q_tot at the end']}, where" in readme
    )
    assert f"standard deviation is {line['std of exp(beta A)']}" in readme


def test_the_readme_shows_the_committed_cards():
    from omac import cards
    from omac.config import load_params
    from omac.results import markdown

    names = [f"smax-{m}" for m in load_params()["grid"]["maps"]] + ["odis-3m"]
    assert markdown(cards.overview(names)) in (ROOT / "README.md").read_text()


def test_the_register_has_every_open_point_and_switches_that_exist():
    from dataclasses import fields

    from omac.config import Hyper

    rows = re.findall(r"^\| (\d+) \|.*\|([^|]*)\|$", (ROOT / "README.md").read_text(), re.M)
    assert [int(n) for n, _ in rows] == list(range(1, 31))
    known = {f.name for f in fields(Hyper)}
    assert {name for _, cell in rows for name in re.findall(r"`(\w+)`", cell)} <= known


def test_the_top_level_is_the_prescribed_one():
    import subprocess

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
        "dvc.lock",
        "pyproject.toml",
        "requirements.txt",
        "Makefile",
        "conftest.py",
        "tests",
        "benchmarks",
        "docs",
        "LICENSE",
        "CITATION.cff",
        ".ci",
        ".dvc",
        ".dvcignore",
        ".gitignore",
    }


def test_the_readme_shows_the_ratios_of_the_last_benchmark():
    text = (ROOT / "benchmarks" / "results.md").read_text()
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    readme = (ROOT / "README.md").read_text()
    assert len(tables) >= 7 and tables[0] in readme and tables[0].count("\n") == 2 + 9

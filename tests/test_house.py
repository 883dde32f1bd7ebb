"""The packages keep their layers, and DVC watches all that a stage runs through."""

import ast
import subprocess
import sys
from collections import defaultdict

import pytest
import yaml

from omac.algorithms import REGISTRY
from omac.paths import ROOT
from omac.training import source_hash
from omac.training.source_hash import EVERY_CELL, EXPORTS, FIGURE_PACKAGES

PACKAGE = ROOT / "omac"
FILES = {str(f.relative_to(PACKAGE).with_suffix("")): ast.parse(f.read_text()) for f in sorted(PACKAGE.rglob("*.py"))}
BASE = {"schema", "shapes", "config", "paths", "progress", "files", "__init__"}
BELOW = {  # package or file: what it may import, beside its own package and the base
    **{name: set() for name in BASE},
    "envs": set(),
    "data": {"envs"},
    "datasets": {"data", "envs"},
    "nn": set(),
    "algorithms": {"nn"},
    "training": {"algorithms", "nn", "datasets", "data", "envs"},
    "evaluation": {"nn", "data", "envs"},
    "behaviour": {"training", "evaluation", "nn", "datasets", "data", "envs"},
    "analysis": set(),
    "claims": {"analysis"},
    "plots": {"claims", "analysis"},
    "study": {"behaviour", "training", "evaluation", "algorithms", "nn", "datasets", "data", "envs", "analysis"},
    "cli": {
        "study",
        "behaviour",
        "training",
        "evaluation",
        "nn",
        "datasets",
        "data",
        "envs",
        "plots",
        "claims",
        "analysis",
    },
    "__main__": {"cli"},
}


def imported(tree):
    """The modules of omac that a file imports, those inside functions too: "nn/losses", "envs/__init__"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "omac":
            base = node.module.split(".")[1:]
            for alias in node.names:
                for path in ("/".join([*base, alias.name]), "/".join([*base, alias.name, "__init__"])):
                    if path in FILES:
                        yield path
                        break
                else:
                    yield "/".join(base) if "/".join(base) in FILES else "/".join([*base, "__init__"])


@pytest.mark.parametrize("name", FILES)
def test_no_import_runs_up_or_to_the_side(name):
    room = name.split("/")[0]
    for other in imported(FILES[name]):
        target = other.split("/")[0]
        assert target == room or target in BASE or target in BELOW[room], f"omac/{name}.py imports omac/{other}.py"


def test_the_modules_of_omac_import_each_other_in_no_circle():
    edges = {name: set(imported(tree)) for name, tree in FILES.items()}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            path.append(name)
            for other in sorted(edges[name]):
                visit(other)
            done.add(path.pop())

    for name in FILES:
        visit(name)


@pytest.mark.slow
@pytest.mark.parametrize("package", FIGURE_PACKAGES)
def test_tables_claims_and_figures_load_neither_torch_nor_a_simulator(package):
    modules = [f"omac.{package}.{f.stem}" for f in (PACKAGE / package).glob("*.py") if f.stem != "__init__"]
    heavy = "{'torch', 'jax', 'h5py', 'omac.training', 'omac.nn', 'omac.envs', 'omac.datasets'}"
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules}]; print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_matplotlib_is_imported_by_plots_alone():
    for name, tree in FILES.items():
        used = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        used |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not {"matplotlib", "seaborn"} & used or name.startswith("plots/"), name


# Functions that every algorithm, loader or claim's test has under the same name: that is the interface.
INTERFACES = {"algorithms", "datasets/loaders"}
# A claim measured in our rows (claims/criteria), and the same claim in the paper's printed numbers (claims/paper_numbers).
TWICE = {"outperforms", "drop", "most"}


def defined(tree):
    """The names that a file defines at its top level."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        for target in node.targets if isinstance(node, ast.Assign) else []:
            yield from (x.id for x in ast.walk(target) if isinstance(x, ast.Name))


def test_a_public_name_means_one_thing_in_the_whole_package():
    places = defaultdict(list)
    for name, tree in FILES.items():
        if not any(name.startswith(x) for x in INTERFACES):
            for word in defined(tree):
                places[word].append(name)
    twice = {
        w: p
        for w, p in places.items()
        if len(p) > 1 and not w.startswith("_") and w not in TWICE and not any(x.startswith("cli/") for x in p)
    }
    assert not twice


def test_no_two_files_of_an_export_define_the_same_name_the_algorithms_interface_aside():
    """An export leaves out which module a name is imported from: so a name must have one place."""
    for export, modules in EXPORTS.items():
        places = defaultdict(list)
        for name in modules:
            for word in defined(FILES[name]):
                places[word].append(name)
        clash = {w: p for w, p in places.items() if len(p) > 1 and not all(x.startswith("algorithms/") for x in p)}
        assert not clash, f"{export}: {clash}"


# What shows, names, checks, hashes or registers changes no result; config.py's values stand in params.yaml, which DVC watches.
SILENT = {
    "schema",
    "shapes",
    "paths",
    "progress",
    "__init__",
    "algorithms/__init__",
    "training/source_hash",
    "data/validation",
    "data/hdf5",
    "files",
}
SILENT |= {"study/machine", "datasets/digest", "envs/smax_maps"} | {
    name for name in FILES if name.startswith(("envs/smac", "envs/toy", "config/"))
}
SILENT |= {name for name in FILES if name.endswith("/__init__") and len(FILES[name].body) == 1}  # a docstring alone
# reach a cell through the data set alone, which its digest identifies
DATA = {name for name in FILES if name.startswith(("behaviour/", "datasets/")) or name == "study/prepare"} - {
    "datasets/registry"
}
ALGORITHMS = {f"algorithms/{name}" for name in REGISTRY}
FOREIGN = {name for name in FILES if name.startswith(("datasets/loaders", "datasets/pull"))}  # other data than SMAX's
USES = {"omar": {"algorithms/cql"}}  # the algorithms that are made of another one's functions


@pytest.mark.parametrize(
    ("export", "roots", "elsewhere"),
    [
        *(
            (a, ["study/cell", "envs/smax"], DATA | ALGORITHMS - {f"algorithms/{a}"} - USES.get(a, set()))
            for a in REGISTRY
        ),
        ("pull", ["study/prepare", "envs/smax"], FOREIGN | {"datasets/registry"}),
        ("subsample", ["datasets/registry"], {"envs/__init__", "envs/battle", "envs/smax"}),
    ],
)
def test_every_module_a_stage_runs_through_is_watched_by_dvc(export, roots, elsewhere):
    """Whatever a stage imports of omac, directly or not, is in its export, but for what only shows, names or checks."""
    reached, todo = set(), list(roots)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += imported(FILES[name])
    assert reached - SILENT - elsewhere <= set(EXPORTS[export])
    assert set(EXPORTS[export]) <= reached


def test_dvc_yaml_names_every_export_and_no_other():
    outs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["code"]["outs"]
    assert sorted(outs) == sorted(f"build/code/{name}.py" for name in (*EXPORTS, "figures"))


def test_comments_docstrings_imports_of_omac_and_moves_do_not_change_an_export(tmp_path):
    written = (
        '"""Doc."""\nfrom omac.nn import losses\n\n\ndef f(x: int) -> int:\n    """Doc."""\n    return x + 1  # why\n'
    )
    moved = "from omac.elsewhere import losses\ndef f( x ):\n\n    return (x\n        + 1)\n"
    assert source_hash.normal(written) == source_hash.normal(moved) != source_hash.normal(moved.replace("1", "2"))
    assert source_hash.normal("import numpy\n") == "import numpy"


def test_an_export_holds_its_modules_whole_and_the_notebook_of_the_cells(tmp_path):
    made = {f.stem: f.read_text() for f in source_hash.export(tmp_path)}
    assert set(made) == {*EXPORTS, "figures"}
    assert "def value_loss(" in made["omac"] and "study.run_cell(" not in made["pull"]
    template = source_hash.normal(source_hash.notebook_source(ROOT / source_hash.TEMPLATE))
    assert all((template in made[name]) == (EVERY_CELL[-1] in EXPORTS[name]) for name in EXPORTS)
    assert {f.name: f.read_text() for f in source_hash.export(tmp_path)} == {f"{k}.py": v for k, v in made.items()}

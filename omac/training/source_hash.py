"""Code without comments, docstrings, imports of our own and notebook outputs: what a result really depends on."""

import ast
import json
from pathlib import Path

from omac.paths import ROOT, atomic

HERE = Path(__file__).parents[1]
TEMPLATE = "notebooks/03_train.ipynb"
BATTLES = (
    "envs/__init__",
    "envs/battle",
    "envs/smax",
    "evaluation",
    "data/episodes",
    "nn/networks",
    "nn/rows",
    "nn/policy",
)
EVERY_CELL = (  # what every cell runs, whatever its algorithm
    *BATTLES,
    "study/cell",
    "datasets/registry",
    "training/trainer",
    "training/checkpoint",
    "training/replay",
    "training/diagnostics",
    "training/parameters",
    "training/state",
    "nn/factorization",
    "nn/losses",
    "nn/igm",
    "algorithms/common",
)
EXPORTS = {  # build/code/<name>.py: the modules that a stage of dvc.yaml runs through
    "pull": (*BATTLES, "envs/smax_maps", "behaviour/levels", "behaviour/collect", "study/prepare"),
    "subsample": ("datasets/registry", "data/episodes"),
    "cards": ("datasets/cards", "datasets/coverage", "plots/replay", "plots/style", "data/episodes"),
    "controls": (*BATTLES, "datasets/registry", "study/cell", "study/controls"),
    "omac": (*EVERY_CELL, "algorithms/omac"),
    "bc": (*EVERY_CELL, "algorithms/bc"),
    "icq": (*EVERY_CELL, "algorithms/icq"),
    "omar": (*EVERY_CELL, "algorithms/cql", "algorithms/omar"),
    "bcq": (*EVERY_CELL, "algorithms/bcq"),
    "cql": (*EVERY_CELL, "algorithms/cql"),
}


FIGURE_PACKAGES = (
    "analysis",
    "claims",
    "plots",
)  # packages that the tables and figures of the analysis notebooks are made with


def statements(source):
    """Reduce Python source to what runs. Returns its top-level statements, a list of texts, in their order.

    Comments, docstrings, layout, annotations of functions and imports of omac's own modules are left out: where a
    function lies, and what it is documented with, changes no result.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [x for x in body if not _is_docstring(x) and not _is_own_import(x)] or [ast.Pass()]
    return [ast.unparse(x) for x in tree.body if not isinstance(x, ast.Pass)]


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_own_import(node):
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "omac"


def normal(source):
    """Reduce Python source to what runs, as one text."""
    return "\n".join(statements(source))


def notebook_source(path):
    """Return the code cells of a notebook as one text."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def module_source(modules):
    """Reduce omac's modules, named without .py, to their top-level statements, sorted: a move changes nothing."""
    found = [s for name in modules for s in statements((HERE / f"{name}.py").read_text(encoding="utf-8"))]
    return "".join(f"{s}\n" for s in sorted(found))


def export(folder):
    """Write what each stage runs to `folder`/<name>.py: DVC runs it again when that changes, not when a comment does.

    Returns the paths. A file whose content is the same keeps its place.
    """
    template = normal(notebook_source(ROOT / TEMPLATE))
    made = []
    for name, modules in EXPORTS.items():
        text = module_source(modules) + (f"{template}\n" if EVERY_CELL[-1] in modules else "")
        made.append(_write(Path(folder) / f"{name}.py", text))
    modules = sorted(str(f.relative_to(HERE).with_suffix("")) for p in FIGURE_PACKAGES for f in (HERE / p).glob("*.py"))
    made.append(_write(Path(folder) / "figures.py", module_source(["schema", *modules])))
    return made


def _write(path, text):
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return path

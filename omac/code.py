"""Code without comments, docstrings and notebook outputs: what a result really depends on."""

import ast
import json
from pathlib import Path

from omac.paths import atomic

HERE = Path(__file__).parent


def normal(source):
    """Python source reduced to what runs: no comments, docstrings or layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def source(path):
    """Normal source of a .py file, or of the code cells of a notebook."""
    content = Path(path).read_text()
    if str(path).endswith(".ipynb"):
        content = "\n".join(
            "".join(cell["source"]) for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"
        )
    return normal(content)


def text(modules):
    """Normal source of omac's modules, named without .py."""
    return "".join(f"# {name}\n{source(HERE / f'{name}.py')}\n" for name in modules)


def export(out, files):
    """Write the normal source of `files` to `out`: DVC re-trains when that changes, not when a comment does."""
    with atomic(out) as part:
        part.write_text("".join(f"# {name}\n{source(name)}\n" for name in files))

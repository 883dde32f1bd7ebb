"""Every public name says what it does; a function begins with a verb."""

import ast

from omac.paths import ROOT
from omac.training.source_hash import EXPORTS

NOUNS = {"The", "A", "An", "Whether", "What", "How", "Why", "Which", "Where", "One", "Rows"}
COMMANDS = {
    "cli/data",
    "cli/training",
    "cli/results",
    "cli/project",
}  # a function for each command, whose help says what it does
OF_CELLS = {name for names in EXPORTS.values() for name in names}  # changed with the study alone


def public(tree, prefix=""):
    """Yield (name, node) of the public functions, classes and methods of a module."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


MODULES = {
    str(p.relative_to(ROOT / "omac").with_suffix("")): ast.parse(p.read_text()) for p in (ROOT / "omac").rglob("*.py")
}


def test_every_public_name_has_a_docstring():
    assert not [name for name, tree in MODULES.items() if not ast.get_docstring(tree)]
    without = [
        f"{module}.{name}"
        for module, tree in MODULES.items()
        if module not in COMMANDS
        for name, node in public(tree)
        if not ast.get_docstring(node)
    ]
    assert not without


def test_the_docstring_of_a_function_begins_with_a_verb():
    nouns = [
        f"{module}.{name}: {ast.get_docstring(node).splitlines()[0]}"
        for module, tree in MODULES.items()
        if module not in COMMANDS | OF_CELLS
        for name, node in public(tree)
        if isinstance(node, ast.FunctionDef)
        and not any("property" in ast.unparse(x) for x in node.decorator_list)
        and (ast.get_docstring(node) or "x").split()[0] in NOUNS
    ]
    assert not nouns

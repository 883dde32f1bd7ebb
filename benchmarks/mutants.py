"""Change the code in small ways, one at a time, and see whether a test of `make fast` notices.

python benchmarks/mutants.py [modules ...] [--each 12] [--minutes 40]    such as nn/losses; a sample of each module's mutants

A mutant that no test notices is a hole in the tests, or changes nothing that can be seen. A mutated module is put in the
place of the real one in a process of its own; no file is touched. Slow tests are left out, so a mutant that survives here may
still be caught by them.
"""

import argparse
import ast
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # of a processor that the tests of one mutant may take
EQUATIONS = ("equations", "algorithms")
TARGETS = {  # module: the test files that hold it, the quickest first
    **dict.fromkeys(("nn/losses", "nn/policy", "nn/igm", "nn/expectile", "nn/factorization"), EQUATIONS),
    **dict.fromkeys(("nn/networks", "nn/rows"), ("equations", "algorithms", "evaluation")),
    **dict.fromkeys(
        (f"algorithms/{name}" for name in ("omac", "bc", "icq", "omar", "bcq", "cql", "common")), EQUATIONS
    ),
    "training/replay": ("switches", "equations", "algorithms"),
    "data/episodes": ("episodes", "digest"),
    "data/validation": ("episodes",),
    "evaluation": ("evaluation",),
    "analysis/statistics": ("statistics",),
    "claims/criteria": ("verdict",),
    "claims/evidence": ("verdict",),
}
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Add, ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def changes(node):
    """Yield (what changes, a function that makes the change in a copy of the node) for every small change of one node."""
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
        new = SWAPS[type(node.op)]
        yield f"{type(node.op).__name__} to {new.__name__}", lambda x: setattr(x, "op", new())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        other = SWAPS[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} to {other.__name__}", lambda x: x.ops.__setitem__(0, other())
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value + 1
        yield f"{node.value} to {value}", lambda x: setattr(x, "value", value)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield f"{node.value} to {not node.value}", lambda x: setattr(x, "value", not x.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
        yield (
            f"{type(node.op).__name__} left out",
            lambda x: setattr(x, "op", ast.UAdd() if _is_minus(x) else _twice(x)),
        )
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "condition turned", lambda x: setattr(x, "test", ast.UnaryOp(ast.Not(), x.test))
    if isinstance(node, ast.Call) and len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args):
        yield "last two arguments change places", lambda x: x.args.__setitem__(slice(-2, None), x.args[:-3:-1])
    if isinstance(node, ast.Call) and node.keywords and node.keywords[-1].arg:
        yield f"argument {node.keywords[-1].arg} left out", lambda x: x.keywords.pop()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords:
        yield f".{node.func.attr}() left out", None


def _is_minus(node):
    return isinstance(node.op, ast.USub)


def _twice(node):
    """The operator `not` or `~` undone: it is applied to itself."""
    node.operand = ast.UnaryOp(type(node.op)(), node.operand)
    return node.op


class Mutant(NamedTuple):
    """One small change: in which line, what, and where in the walk of the module's tree."""

    line: int
    what: str
    node: int
    change: int


def mutants(source):
    """List every Mutant of a module. Messages, defaults of arguments and annotations are left alone."""
    tree = ast.parse(source)
    left_alone = set()
    for node in ast.walk(tree):
        inner = [node] if isinstance(node, (ast.Raise, ast.JoinedStr, ast.arguments)) else []
        inner += [x for x in (getattr(node, "annotation", None), getattr(node, "returns", None)) if x]
        left_alone |= {id(x) for part in inner for x in ast.walk(part)}
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if id(node) not in left_alone and hasattr(node, "lineno"):
            found += [Mutant(node.lineno, what, number, k) for k, (what, _) in enumerate(changes(node))]
    return found


def mutated(source, mutant):
    """The tree of a module with one Mutant in it."""
    tree = ast.parse(source)
    node = next(x for i, x in enumerate(ast.walk(tree)) if i == mutant.node)
    change = list(changes(node))[mutant.change][1]
    if change is None:
        tree = _Replaced(node, node.func.value).visit(tree)
    else:
        change(node)
    return ast.fix_missing_locations(tree)


class _Replaced(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        """Visit, or replace."""
        return self.new if node is self.old else self.generic_visit(node)


class _Loader(importlib.machinery.SourceFileLoader):
    """Imports one module from a tree in place of its file."""

    def __init__(self, name, path, tree):
        super().__init__(name, path)
        self.tree = tree

    def get_code(self, fullname):
        """The code of the tree."""
        return compile(self.tree, self.path, "exec")


class _Finder:
    """Finds the mutated module before anything else does."""

    def __init__(self, name, path, tree):
        self.name, self.loader = name, _Loader(name, path, tree)

    def find_spec(self, name, path=None, target=None):
        """The mutant's spec, for its name alone."""
        return importlib.util.spec_from_loader(name, self.loader) if name == self.name else None


def notices(module, tree):
    """Whether the fast tests of a module fail with `tree` in its place; in a process of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)
    code = 99
    with contextlib.suppress(BaseException):
        import pytest

        name = f"omac.{module.replace('/', '.')}"
        sys.meta_path.insert(0, _Finder(name, str(ROOT / "omac" / f"{module}.py"), tree))
        files = [str(ROOT / "tests" / f"test_{file}.py") for file in TARGETS[module]]
        code = int(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *files]))
    os._exit(code)


def main():
    """Mutate what is asked for; print a line of JSON a mutant, then a line a module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(TARGETS))
    parser.add_argument("--each", type=int, default=12, help="mutants of a module, drawn at random")
    parser.add_argument("--minutes", type=float, default=40, help="no mutant begins later")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import numpy  # noqa: F401  what every child needs, imported once
    import pandas  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)
    until = time.monotonic() + 60 * args.minutes
    for module in args.modules:
        source = (ROOT / "omac" / f"{module}.py").read_text(encoding="utf-8")
        if notices(module, ast.parse(source)):
            print(json.dumps({"module": module, "error": "its tests fail as it is"}), flush=True)
            continue
        every, lines, tried, survived = mutants(source), source.splitlines(), 0, 0
        for mutant in random.Random(args.seed).sample(every, min(args.each, len(every))):
            if time.monotonic() > until:
                break
            alive = not notices(module, mutated(source, mutant))
            tried, survived = tried + 1, survived + alive
            about = {"module": module, "line": mutant.line, "what": mutant.what, "survived": alive}
            print(json.dumps({**about, "text": lines[mutant.line - 1].strip()}), flush=True)
        print(json.dumps({"module": module, "mutants": len(every), "tried": tried, "survived": survived}), flush=True)


if __name__ == "__main__":
    main()

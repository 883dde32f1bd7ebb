"""Change the code in small ways, one at a time, and see whether a test of `make fast` notices.

python benchmarks/mutants.py [modules ...] [--each 12] [--minutes 40]    such as nn/losses; a sample of each module's mutants

A mutant that no test notices is a hole in the tests, or changes nothing that can be seen. Its code is put in the place of the
real function's in a process of its own; no file is touched. Code outside functions is left alone. Slow tests are left out but for
--slow, so that a mutant which survives here may still be caught by them.
"""

import argparse
import ast
import contextlib
import importlib
import json
import os
import random
import resource
import sys
import time
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # of a processor that the tests of one mutant may take
PATIENCE = 1800  # that all tests may take, once, to see how long each does
EQUATIONS = ("diagnosed", "equations", "algorithms", "policies")
TRAINING = ("switches", "checksums", "seeds", "diagnosed")
TARGETS = {  # module: the test files that hold it, the quickest first
    **dict.fromkeys(("nn/losses", "nn/policy", "nn/igm", "nn/expectile", "nn/factorization"), EQUATIONS),
    **dict.fromkeys(("nn/networks", "nn/rows"), ("seeds", *EQUATIONS, "evaluation")),
    **dict.fromkeys(
        (f"algorithms/{name}" for name in ("omac", "bc", "icq", "omar", "bcq", "cql", "common")), EQUATIONS
    ),
    **dict.fromkeys(
        (f"training/{name}" for name in ("replay", "state", "parameters", "diagnostics", "checkpoint")), TRAINING
    ),
    "training/trainer": TRAINING,
    "data/episodes": ("episodes", "digest"),
    "data/validation": ("episodes",),
    "evaluation": ("evaluation",),
    "analysis/statistics": ("statistics",),
    **dict.fromkeys(
        (f"claims/{name}" for name in ("criteria", "evidence", "verdicts", "report", "paper_numbers")), ("verdict",)
    ),
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
    """One small change: in which line, what, where in the walk of the module's tree, and in which function."""

    line: int
    what: str
    node: int
    change: int
    function: tuple


def functions(tree):
    """{id of a node: (name,) or (class, name)} of all nodes in the bodies of a module's functions and methods."""
    found = {}
    for outer in tree.body:
        inside = [((outer.name,), outer)] if isinstance(outer, ast.FunctionDef) else []
        if isinstance(outer, ast.ClassDef):
            inside = [((outer.name, x.name), x) for x in outer.body if isinstance(x, ast.FunctionDef)]
        for name, function in inside:
            found |= {id(x): name for statement in function.body for x in ast.walk(statement)}
    return found


def mutants(source):
    """List every Mutant of a module's functions. Messages and annotations are left alone."""
    tree = ast.parse(source)
    names, left_alone = functions(tree), set()
    for node in ast.walk(tree):
        inner = [node] if isinstance(node, (ast.Raise, ast.JoinedStr)) else []
        inner += [x for x in (getattr(node, "annotation", None), getattr(node, "returns", None)) if x]
        left_alone |= {id(x) for part in inner for x in ast.walk(part)}
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in names and id(node) not in left_alone and hasattr(node, "lineno"):
            found += [
                Mutant(node.lineno, what, number, k, names[id(node)]) for k, (what, _) in enumerate(changes(node))
            ]
    return found


def mutated(source, mutant):
    """The code of the mutant's function, with the change in it."""
    tree = ast.parse(source)
    node = next(x for i, x in enumerate(ast.walk(tree)) if i == mutant.node)
    change = list(changes(node))[mutant.change][1]
    if change is None:
        tree = _Replaced(node, node.func.value).visit(tree)
    else:
        change(node)
    code = compile(ast.fix_missing_locations(tree), "mutant", "exec")
    for name in mutant.function:
        code = next(x for x in code.co_consts if hasattr(x, "co_code") and x.co_name == name)
    return code


class _Replaced(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        """Visit, or replace."""
        return self.new if node is self.old else self.generic_visit(node)


def live(module, function):
    """The function object that a module's users call, without what decorators wrap around it."""
    found = sys.modules[module]
    for name in function:
        found = vars(found)[name]
    while True:
        inner = getattr(found, "__wrapped__", None) or getattr(found, "__func__", None) or getattr(found, "fget", None)
        if inner is None:
            return found
        found = inner


class Loop:
    """In place of pytest's own loop: the tests are collected once, and run in a process of their own for every mutant."""

    def __init__(self, modules, args, until, out):
        self.modules, self.until, self.out = modules, until, out
        self.each, self.seconds, self.seed = args.each, args.seconds, args.seed

    def pytest_runtestloop(self, session):
        """Mutate module by module."""
        took = self.run(session.items, most=PATIENCE)
        if took is None:
            print(
                json.dumps({"modules": self.modules, "error": "their tests fail as they are"}),
                file=self.out,
                flush=True,
            )
            return True
        quickest = sorted(session.items, key=lambda item: took[item.nodeid])
        spent = accumulate(took[item.nodeid] for item in quickest)
        chosen = [item for item, so_far in zip(quickest, spent, strict=True) if so_far <= self.seconds]
        print(json.dumps({"modules": self.modules, "tests": len(session.items), "run": len(chosen)}), file=self.out)
        for module in self.modules:
            self.mutate(module, chosen)
        return True

    def mutate(self, module, items):
        """Try a sample of a module's mutants; print a line a mutant, and one for the module."""
        source, begun = (ROOT / "omac" / f"{module}.py").read_text(encoding="utf-8"), time.monotonic()
        every, lines, tried, survived = mutants(source), source.splitlines(), 0, 0
        for mutant in random.Random(self.seed).sample(every, min(self.each, len(every))):
            if time.monotonic() > self.until:
                break
            try:
                code = mutated(source, mutant)
            except (SyntaxError, StopIteration):
                continue
            alive = self.run(items, live(name_of(module), mutant.function), code) is not None
            tried, survived = tried + 1, survived + alive
            about = {"module": module, "line": mutant.line, "what": mutant.what, "survived": alive}
            print(json.dumps({**about, "text": lines[mutant.line - 1].strip()}), file=self.out, flush=True)
        line = {"module": module, "mutants": len(every), "tried": tried, "survived": survived}
        print(json.dumps({**line, "seconds": round(time.monotonic() - begun)}), file=self.out, flush=True)

    def run(self, items, function=None, code=None, most=SECONDS):
        """Run tests until one fails, with other code in a function: {test: seconds}, or None where one fails."""
        read, write = os.pipe()
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_CPU, (_seconds() + most,) * 2)
            with os.fdopen(write, "w") as out, contextlib.suppress(BaseException):
                if function is not None:
                    function.__code__ = code
                json.dump(self.times(items), out)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as told:
            said = told.read()
        os.waitpid(child, 0)
        return json.loads(said or "null")

    def times(self, items):
        """{test: seconds} of tests that pass; None as soon as one fails."""
        session, took = items[0].session, {}
        for item, following in zip(items, [*items[1:], None], strict=True):
            begun = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return None
            took[item.nodeid] = time.process_time() - begun
        return took


def _seconds():
    return int(sum(os.times()[:2])) + 1


def name_of(module):
    """nn/losses as Python imports it."""
    return f"omac.{module.replace('/', '.')}"


def main():
    """Mutate what is asked for; print a line of JSON a mutant, then a line a module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(TARGETS))
    parser.add_argument("--each", type=int, default=12, help="mutants of a module, drawn at random")
    parser.add_argument("--minutes", type=float, default=40, help="no mutant begins later")
    parser.add_argument(
        "--seconds", type=float, default=60, help="of a processor for each: the quickest tests that fit"
    )
    parser.add_argument(
        "--slow", action="store_true", help="slow tests too, where they are among the quickest that fit"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    import pytest

    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what pytest prints
    until = time.monotonic() + 60 * args.minutes
    for names in dict.fromkeys(TARGETS[module] for module in args.modules):
        modules = [module for module in args.modules if TARGETS[module] == names]
        for module in modules:
            importlib.import_module(name_of(module))
        files = [str(ROOT / "tests" / f"test_{name}.py") for name in names]
        words = ["-q", *([] if args.slow else ["-m", "not slow"]), "-p", "no:cacheprovider", *files]
        pytest.main(words, plugins=[Loop(modules, args, until, out)])


if __name__ == "__main__":
    main()

"""Names that a person types, compared with those that there are; and files that a person edits, read with care."""

import ast
import difflib
import json
import math
import os
import re
from pathlib import Path

import yaml

from omac.paths import ROOT, need_place, shown
from omac.schema import CARDS, HELD, LABEL, LEVELS, MAPS, NAMES, RATIOS, SIMULATED

SHORT = 120  # characters of the names that an error lists; of longer lists it says the nearest alone
VARIABLES = (  # of the environment, that a person may set
    *("OMAC_MIRROR", "OMAC_PROFILE", "OMAC_PROGRESS", "OMAC_FIGURES", "OMAC_JAX_CACHE"),
    *("OMAC_SC2_PROCESSES", "OMAC_SC2_FRESH"),
)
OF_NOTEBOOKS = {  # parameters of notebooks, and lists of them, that name things: what, and which there are
    "env": ("environment", SIMULATED),
    **dict.fromkeys(("map_name", "maps", "subset_map", "losses_of"), ("map", MAPS)),
    **dict.fromkeys(("level", "levels", "beside"), ("level", LEVELS)),
    "ratios": ("part of a data set", RATIOS),
    "real": ("data card", CARDS),
    **dict.fromkeys(("algorithm", "against"), ("algorithm", NAMES)),
    **dict.fromkeys(("algorithms", "factorization", "maximum", "switches"), ("line of a figure", LABEL)),
}
IN_WORDS = {
    str: "a text",
    int: "a whole number above 0",
    float: "a number above 0",
    list: "a list of at least one, each once",
}
NOTATION = {
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?([0-9]*\.?[0-9]*(e[-+]?[0-9]+)?|\.inf)|\.nan",
}  # numbers of YAML
OF_ROWS = ("results", "choosing")  # folders of data/ that cells write to
MERGE = ("<<<<<<< ", ">>>>>>> ")  # what git leaves in a file that two branches changed


def guess(name, known):
    """Ask whether the nearest of the known names was meant: ": did you mean good?"; "" where none is near."""
    lower = {str(x).lower(): str(x) for x in known}
    near = [lower[x] for x in difflib.get_close_matches(str(name).lower(), lower)]
    return f": did you mean {' or '.join(near)}?" if near else ""


def unknown(what, name, known):
    """Say that there is no such name, and which it may have been.

    Args:
        what: what is named, such as "level".
        name: what was typed.
        known: the names that there are.
    Returns:
        One line: "unknown level 'god'; there are good, medium, poor: did you mean good?".
    """
    known = [str(x) for x in known]
    listed = f"there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none'}"
    if len(listed) > SHORT:
        listed = f"there are {len(known)}"
    return f"unknown {what} {name!r}; {listed}{guess(name, known)}"


def check_name(what, name, known, where=""):
    """Raise ValueError, with the nearest, for a name that is none of `known`. where: a prefix that says where it stands."""
    if name not in list(known):
        raise ValueError(f"{where}{': ' if where else ''}{unknown(what, name, known)}")


def check_variables():
    """Raise ValueError, with the nearest, for a variable of the environment that begins with OMAC_ and means nothing."""
    for name in os.environ:
        if name.startswith("OMAC_"):
            check_name("variable", name, VARIABLES, "the environment")


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once: of two, PyYAML would keep the last without a word."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _number(loader, node):
    """A number of YAML, written in decimals: 010 would be eight, 1:30 ninety and 1_0 ten."""
    kind = node.tag.rpartition(":")[2]
    if not re.fullmatch(NOTATION[kind], node.value, re.IGNORECASE):
        problem = f"{node.value!r} is a number in another notation: write it in decimals"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return loader.construct_yaml_int(node) if kind == "int" else loader.construct_yaml_float(node)


for _kind in NOTATION:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _number)


def read_yaml(path):
    """Read a YAML file of the project.

    Raises:
        ValueError: it is no YAML, in one line with the place. FileNotFoundError: it is not there.
    """
    restore = f"restore it with `git checkout -- {shown(path)}`"
    remedy = f"mend it, or {restore}"
    try:
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith(MERGE):
                raise ValueError(f"{shown(path)}, line {number}: a mark of an unfinished merge: {remedy}")
        return yaml.load(text, _Loader)
    except FileNotFoundError:
        raise FileNotFoundError(f"{shown(path)} is missing: {restore}") from None
    except yaml.MarkedYAMLError as e:
        where = f", line {e.problem_mark.line + 1}" if e.problem_mark else ""
        raise ValueError(f"{shown(path)}{where}: {e.problem or e.context}: {remedy}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        raise ValueError(f"{shown(path)} is no YAML ({' '.join(str(e).split())}): {remedy}") from None


def check_trained_on(dataset):
    """Raise ValueError for the name of a sample of held-out episodes: nothing is trained on them."""
    if str(dataset).endswith(f"-{HELD}"):
        raise ValueError(f"data set {dataset!r} is the part that is never trained on; take one of {', '.join(RATIOS)}")


def check_place_of_rows(path):
    """Raise ValueError or OSError where the rows of a cell cannot be written, or would take the place of other committed data."""
    need_place(path, ".csv")
    place, data = Path(path).resolve(), ROOT / "data"
    if place.is_relative_to(data) and place.relative_to(data).parts[0] not in OF_ROWS:
        raise ValueError(f"{shown(place)} is no place for the rows of a cell: name another file, such as build/my.csv")


def _assigned(source):
    """The names that a cell's code assigns to, and the values: {name: value}, None where the code computes it."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if several else [(target, node.value)]
            found |= {name.id: _literal(value) for name, value in pairs if isinstance(name, ast.Name)}
    return found


def _literal(node):
    """The value of an expression that computes nothing; None for any other."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def check_parameters(scope, notebook):
    """Refuse a parameter that the notebook does not have, or a value that it cannot mean, before any work.

    papermill puts the parameters that it is given into a cell of their own, below the notebook's, and lets an unknown
    one pass: the notebook would run with its defaults. It looks at no value either: of a misspelt map there are no rows, and
    figures would be empty.

    Args:
        scope: globals() of the notebook, in which IPython keeps the cells that were run.
        notebook: its name below notebooks/, such as "03_train".
    Raises:
        ValueError: names the parameter, its value, or a variable of the environment, and the nearest that there is.
    """
    check_variables()
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    defaults = {}
    for cell in cells:
        if "parameters" in cell["metadata"].get("tags", []):
            defaults |= _assigned("".join(cell["source"]))
    given = [source for source in scope["In"] if source.startswith("# Parameters\n")]
    for name in _assigned(given[-1]) if given else ():
        check_name(f"parameter of {notebook}", name, defaults)
    for name, default in defaults.items():
        if name in scope:
            _check_value(f"{notebook}: {name}", name, scope[name], default)


def _check_value(where, name, value, default):
    """Raise ValueError for a parameter of another type than its default, or a name that means nothing."""
    if default is not None and not _is_like(value, default):
        raise ValueError(f"{where} is {value!r}; it must be {IN_WORDS[type(default)]}, such as {default!r}")
    for one in value if isinstance(value, list) else [value]:
        if name == "profile":
            check_name("profile", one, read_yaml(ROOT / "params.yaml")["profiles"], where)
        elif name == "dataset":
            check_trained_on(one)
        elif name == "out":
            check_place_of_rows(ROOT / one)
        elif name == "taus":
            _check_expectile(where, one)
        elif name == "temperatures" and isinstance(value, list):
            known = read_yaml(ROOT / "params.yaml")["temperatures"].values()
            check_name("temperature", one, {policy for of_algorithm in known for policy in of_algorithm}, where)
        elif name in OF_NOTEBOOKS:
            what, known = OF_NOTEBOOKS[name]
            check_name(what, str(one), known, where)


def _check_expectile(where, value):
    if value >= 1:
        raise ValueError(f"{where} holds {value}; an expectile is below 1")


def _is_like(value, default):
    """Whether a value is of its default's type, lists item by item, and a number is finite and above 0."""
    if isinstance(default, list):
        alike = isinstance(value, list) and len(value) > 0 and all(_is_like(x, default[0]) for x in value)
        return alike and len(set(value)) == len(value)
    if type(default) in (int, float):
        whole_enough = type(value) in {type(default), int}
        return whole_enough and 0 < value < math.inf
    return type(value) is type(default)

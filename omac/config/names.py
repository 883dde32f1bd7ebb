"""Names that a person types, held against those that there are; and files that a person edits, read with care."""

import ast
import difflib
import json
import os

import yaml

from omac.paths import ROOT, shown

SHORT = 120  # characters of the names that an error lists; of longer lists it says the nearest alone
VARIABLES = (  # of the environment, that a person may set
    *("OMAC_MIRROR", "OMAC_PROFILE", "OMAC_PROGRESS", "OMAC_FIGURES", "OMAC_JAX_CACHE"),
    *("OMAC_SC2_PROCESSES", "OMAC_SC2_FRESH"),
)
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


def _assigned(source):
    """The names that a cell's code assigns to."""
    nodes = ast.walk(ast.parse(source))
    return [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def check_parameters(scope, notebook):
    """Refuse a parameter that papermill gave to a notebook and that the notebook does not have.

    papermill puts the parameters that it is given into a cell of their own, below the notebook's, and lets an unknown
    one pass: the notebook would run with its defaults.

    Args:
        scope: globals() of the notebook, in which IPython keeps the cells that were run.
        notebook: its name below notebooks/, such as "03_train".
    Raises:
        ValueError: names the parameter, or a variable of the environment, and the nearest that there is.
    """
    check_variables()
    given = [source for source in scope["In"] if source.startswith("# Parameters\n")]
    if given:
        cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
        known = [
            x for c in cells if "parameters" in c["metadata"].get("tags", []) for x in _assigned("".join(c["source"]))
        ]
        for name in _assigned(given[-1]):
            check_name(f"parameter of {notebook}", name, known)

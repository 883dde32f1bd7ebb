"""Files that results pass through: their bytes are believed after a look at their digest, their rows after a look at what they say.

Files that stages write side by side, rows and checkpoints, end in their own digest: no second file gets out of step, two
writers never meet in one, and a merge that mixes two versions is found. A reader of zips or of CSV with comments sees the
same content. Files that are made seldom and by hand are listed, so that `sha256sum -c` alone can look at them.
"""

import hashlib
import io
from pathlib import Path

from omac.config.names import read_yaml
from omac.paths import BUILD, ROOT, alone, atomic, need_file, shown
from omac.schema import (
    CONTROLS,
    HIGHEST,
    KEYS,
    KINDS_OF_ROWS,
    KNOWN_LEVELS,
    LEVELS,
    LONGEST,
    NAMED,
    NAMES,
    PUBLISHED,
    SCORES,
    SIMULATED,
)

MARK = b"# sha256 "  # begins the line that seals a file
LARGEST_COUNT = 2**32 - 1  # of seeds, steps and episodes
VALUE_SHOWN = 100  # characters of a value, or of what another library says, in an error
SUMS = "SHA256SUMS"  # of a folder, as `sha256sum -c` reads it


def seal(content):
    """Add a last line with the sha256 of all bytes above it."""
    return content + MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"


def unseal(content, name, remedy=None):
    """Take the last line off again. content: bytes; name: what an error calls them. Returns bytes.

    Raises ValueError, one line, when the bytes are not those that were sealed.
    """
    remedy = remedy or f"restore it with `git checkout -- {name}`, or make it again"
    whole, found, digest = content.rpartition(MARK)
    if not found:
        raise ValueError(
            f"{name} does not end in a line `{MARK.decode()}...`: it was not written here, or cut off; {remedy}"
        )
    if hashlib.sha256(whole).hexdigest().encode() + b"\n" != digest:
        raise ValueError(
            f"{name} is not as it was written (its sha256 differs): a flipped bit, an edit or a merge; {remedy}"
        )
    return whole


def record_sums(*paths):
    """Write the sha256 of files of one folder into its SHA256SUMS, the others' lines kept. Returns its path."""
    sums = Path(paths[0]).parent / SUMS
    found = {Path(p).name: hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in paths}
    with alone(BUILD / "sums.lock", f"another process writes {shown(sums)}"):
        known = {**(_read(sums) if sums.exists() else {}), **found}
        lines = [f"{digest}  {name}\n" for name, digest in sorted(known.items()) if (sums.parent / name).exists()]
        with atomic(sums) as part:
            part.write_text("".join(lines))
    return sums


def checked_bytes(path, anew="make it again"):
    """Hold a file against its folder's SHA256SUMS. anew: how such a file is made anew, for the error. Returns its bytes.

    Raises ValueError, one line, for a file that is not listed or has another sha256, OSError for a missing one.
    """
    path = Path(path)
    content, found = path.read_bytes(), None
    if (path.parent / SUMS).exists():
        found = _read(path.parent / SUMS).get(path.name)
    restore = f"restore it with `git checkout -- {shown(path)}`, or {anew}"
    if found is None:
        raise ValueError(f"{shown(path)} is not listed in {shown(path.parent / SUMS)}: {restore}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != found:
        raise ValueError(f"{shown(path)} has the sha256 {digest[:12]}..., {SUMS} says {found[:12]}...: {restore}")
    return content


def check_sums(sums):
    """Hold every file that a SHA256SUMS lists against it. Returns their paths. Raises as `checked_bytes` does."""
    paths = [sums.parent / name for name in _read(sums)]
    for path in paths:
        checked_bytes(path)
    return paths


def _read(sums):
    """{file name: sha256} of a SHA256SUMS. Raises ValueError for a line of another form, or two that contradict one another."""
    known = {}
    for number, line in enumerate(sums.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        digest, two, name = line.partition("  ")
        if (
            len(digest) != 64 or not two or not name or name != Path(name).name
        ):  # a name alone: nothing outside the folder
            raise ValueError(
                f"{shown(sums)}, line {number}: {line[:VALUE_SHOWN]!r} is no sha256 and file name: `git checkout -- {shown(sums)}`"
            )
        if known.setdefault(name, digest) != digest:
            raise ValueError(f"{shown(sums)}, line {number}: another sha256 of {name}: `git checkout -- {shown(sums)}`")
    return known


def write_csv(table, path, digits=6):
    """Write a DataFrame as CSV, sealed and atomically; the same rows give the same bytes. Returns the path."""
    text = table.to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")
    with atomic(path) as part:
        part.write_bytes(seal(text.encode()))
    return path


def read_table(path, **options):
    """Read a sealed CSV. options: pandas.read_csv's. Returns a DataFrame.

    Raises ValueError, one line, for a file that is not as it was written or is no table, OSError for a missing one.
    """
    import pandas as pd

    need_file(path)
    content = unseal(Path(path).read_bytes(), shown(path))
    try:
        columns = pd.read_csv(io.BytesIO(content), nrows=1, header=None, dtype=str).iloc[0].dropna()
        twice = columns[columns.duplicated()].tolist()
        if twice:
            raise ValueError(f"the column {twice[0]!r} stands there twice")
        return pd.read_csv(io.BytesIO(content), **options)
    except ValueError as e:
        said = " ".join(str(e).split())[:VALUE_SHOWN]
        raise ValueError(
            f"{shown(path)} is no table ({said}): restore it with `git checkout -- {shown(path)}`"
        ) from None


def read_rows(path):
    """Read rows of cells, sealed, and look at what they say. Returns a DataFrame.

    Raises ValueError, one line with file, line, column and value, for a row that cannot be.
    """
    rows = read_table(path)
    missing = [c for c in (*KEYS, *SCORES) if c not in rows]
    if missing:
        raise ValueError(f"{shown(path)} has no column {', '.join(missing)}: these are no rows of cells")
    if rows.empty:
        raise ValueError(f"{shown(path)} has no rows: the run that wrote it was none of a cell")
    for column, possible, rule in [*_names(rows), *_numbers(rows)]:
        wrong = rows.index[~possible]
        if len(wrong):
            value = rows[column][wrong[0]]
            value = repr(value.item() if hasattr(value, "item") else value)[:VALUE_SHOWN]
            raise ValueError(f"{shown(path)}, line {wrong[0] + 2}: {column} is {value}, which cannot be ({rule})")
    return rows


def _simulated(rows):
    """Which rows are of an environment and map that have a simulator, bool [rows]."""
    there = rows["env"].isin([env for env, maps in SIMULATED.items() if maps is None])
    for env, maps in SIMULATED.items():
        there |= (rows["env"] == env) & rows["map"].isin(maps or ())
    return there


def _names(rows):
    """Yield (column, bool [rows] of what it may say, that in words) of the columns of names."""
    params, own, ours = read_yaml(ROOT / "params.yaml"), rows["kind"] == "data", rows["env"] == "smax"
    text = {c: rows[c].fillna("").astype(str) for c in NAMED if c in rows}
    word = {c: text[c].str.fullmatch(r"\w+") for c in ("map", "level")}
    # data of an environment, or a map, without a simulator may have any name, but no battles
    fought, simulated = ~own & rows["episodes"].ne(0) & (rows["kind"] != "value"), _simulated(rows)
    ours &= simulated | fought
    known = text["env"].isin(HIGHEST) | (text["env"].str.fullmatch(r"\w[\w-]*") & ~fought)
    yield "env", known, f"one of {', '.join(HIGHEST)}, or another without battles"
    yield "map", word["map"] & (~ours | simulated), f"in SMAX one of {', '.join(SIMULATED['smax'])}"
    known = text["level"].isin(KNOWN_LEVELS) | (word["level"] & ~ours)
    yield "level", known, f"in SMAX one of {', '.join(LEVELS)}, or a level that others sort data by"
    yield "kind", text["kind"].isin(KINDS_OF_ROWS), f"one of {', '.join(KINDS_OF_ROWS)}"
    algorithms = [a for a in {**NAMES, **CONTROLS} if a != "data"]
    known = (text["algorithm"] == "data").where(own, text["algorithm"].isin(algorithms))
    yield "algorithm", known, f"data in a row of that kind, else one of {', '.join(algorithms)}: schema.NAMES"
    known = text["variant"].isin(["", *params["variants"]])
    yield "variant", known, f"nothing, or one of {', '.join(params['variants'])}: params.yaml"
    policies = {name for of_algorithm in params["temperatures"].values() for name in of_algorithm}
    known = text["temperature"].isin(["", PUBLISHED, *policies])
    yield "temperature", known, "one of an algorithm's temperatures in params.yaml, or nothing where no policy acts"
    known = text["profile"].isin(params["profiles"])
    yield "profile", known, f"one of {', '.join(params['profiles'])}: params.yaml"


def _numbers(rows):
    """Yield (column, bool [rows] of what it may say, that in words) of the columns of numbers."""
    import pandas as pd

    empty, own = rows.isna(), rows["kind"] == "data"
    number = {c: pd.to_numeric(rows[c], errors="coerce") for c in rows if c not in NAMED}
    whole = {c: number[c].between(0, LARGEST_COUNT) & (number[c] % 1 == 0) for c in ("seed", "step", "episodes")}
    simulated = _simulated(rows)
    high, longest = (
        rows["env"].map(HIGHEST).where(simulated, float("inf")),
        simulated.map({True: LONGEST, False: float("inf")}),
    )
    yield "ratio", number["ratio"].between(1, 100), "a share in %, 1 to 100"
    for column in ("seed", "step"):
        yield column, whole[column] | (empty[column] & own), "a whole number, or nothing for a data set's own row"
    valued = empty["episodes"] & (rows["kind"] == "value")
    yield "episodes", whole["episodes"] | valued, "a whole number, 0 or more"
    bounds = {"return_mean": (-high, high), "return_std": (0, high), "win_rate": (0, 1), "length": (0, longest)}
    for column, (low, top) in bounds.items():
        within = number[column].between(low, top)
        yield column, within | empty[column], "on the scale of its environment, or nothing without a battle"
    for column, x in number.items():
        if column not in KEYS + SCORES:
            yield column, x.abs().lt(float("inf")) | empty[column], "a finite number, or nothing"

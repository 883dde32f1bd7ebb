"""What params.yaml may say beside the numbers of training: its sections and names, the data, the seeds and the grid."""

import re
from itertools import product

from omac.config.names import check_name
from omac.schema import HELD, KNOWN_LEVELS, KNOWN_MAPS, LEVELS, MAPS, NAMES, PUBLISHED, RATIOS

PARAMS_SECTIONS = (
    *("table_2", "open_points", "variants", "temperatures", "profiles", "steps", "data", "threads", "profile", "grid"),
)
COUNTS = {"pull_episodes": 1, "sample_episodes": 1, "held_out_episodes": 0, "seed": 0}  # the least that each may be
ALGORITHMS = tuple(name for name in NAMES if name != "data")
LARGEST_SEED = 2**32 - 1  # random generators take seeds as words of 32 bits


def check_mapping(what, value, known=None, required=()):
    """Return a section of params.yaml as a dict; {} for an empty one.

    Raises:
        ValueError: it is no mapping, has a key that is none of `known`, or lacks a `required` one.
    """
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {value!r}; it must be a mapping, a line `name: value` each")
    for key in value if known is not None else ():
        check_name("key", key, known, what)
    for key in required:
        if key not in value:
            raise ValueError(f"{what}: {key!r} is missing")
    return value


def check_list(what, value):
    """Return a list of names as texts. Raises ValueError for what is none, or has a name twice."""
    if not isinstance(value, list):
        raise ValueError(f"{what} is {value!r}; it must be a list, [one, another]")
    names = [str(x) for x in value]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{what}: {twice[0]} stands there twice")
    return names


def _check_names(what, value, kind, known):
    """Raise ValueError for what is no list of distinct names, each one of `known`."""
    for name in check_list(what, value):
        check_name(kind, name, known, what)


def check_seeds(what, seeds):
    """Return seeds. Raises ValueError for what is no list of distinct whole numbers from 0 on; an empty one, too."""
    rule = "seeds must be a list of distinct whole numbers from 0 to 2^32 - 1, at least one, such as [0, 1, 2]"
    is_list = isinstance(seeds, list) and len(seeds) > 0
    if not is_list or not all(type(s) is int and 0 <= s <= LARGEST_SEED for s in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"{what}: seeds are {seeds!r}; {rule}")
    return seeds


def check_whole(what, value, least):
    """Raise ValueError for what is no whole number from `least` on, or one that no generator and no disk takes."""
    if type(value) is not int or not least <= value <= LARGEST_SEED:
        raise ValueError(f"{what} is {value!r}; it must be a whole number, at least {least} and at most {LARGEST_SEED}")


def _check_words(what, names):
    """Raise ValueError for a name that cannot be a part of a file's name."""
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r"\w[\w.]*", name, re.ASCII)):
            raise ValueError(
                f"{what}: the name {name!r} is not made of letters, digits, _ and dots; files are named by it"
            )


def check_data(what, data):
    """Raise ValueError for a section of episode counts with other names or numbers than it may have."""
    for name, value in check_mapping(what, data, COUNTS, COUNTS).items():
        check_whole(f"{what}: {name}", value, COUNTS[name])
    drawn = data["sample_episodes"] + data["held_out_episodes"]
    if drawn > data["pull_episodes"]:
        raise ValueError(
            f"{what}: sample_episodes and held_out_episodes are {drawn} together, of pull_episodes {data['pull_episodes']}: "
            "pull more, or draw fewer"
        )


def check_data_sets(what, names):
    """Raise ValueError for what is no list of "<map>-<level>"."""
    _check_names(what, names, "data set", [f"{m}-{level}" for m, level in product(KNOWN_MAPS, KNOWN_LEVELS)])


def check_temperatures(temperatures):
    """Return the section `temperatures`, each algorithm's published policy first, in whatever order they stand.

    Raises ValueError for an unknown algorithm, and where the published policy is missing, or changes something.
    """
    for algorithm, policies in check_mapping("temperatures", temperatures, ALGORITHMS).items():
        of_algorithm = check_mapping(f"temperatures of {algorithm}", policies)
        _check_words(f"temperatures of {algorithm}", of_algorithm)
        for name, changes in of_algorithm.items():
            check_mapping(f"temperatures of {algorithm}, {name}", changes)
        if PUBLISHED not in of_algorithm or of_algorithm[PUBLISHED]:
            raise ValueError(f"temperatures of {algorithm}: one must be `{PUBLISHED}: {{}}`, the cell's own settings")
        others = {name: of_algorithm.pop(name) for name in list(of_algorithm) if name != PUBLISHED}
        of_algorithm.update(others)  # a mapping of YAML has no order: whoever writes the file may sort it
    return temperatures


def check_steps(steps, profiles):
    """Raise ValueError for a map, level or profile under `steps` that does not exist, and a profile that cannot be called so."""
    _check_words("profiles", profiles)
    for map_name, of_map in check_mapping("steps", steps).items():
        check_name("map", map_name, KNOWN_MAPS, "steps")
        for level, of_level in check_mapping(f"steps of {map_name}", of_map).items():
            check_name("level", level, KNOWN_LEVELS, f"steps of {map_name}")
            for profile in check_mapping(f"steps of {map_name} {level}", of_level):
                check_name("profile", profile, profiles, f"steps of {map_name} {level}")


def check_grid(grid, variants, steps):
    """Raise ValueError for a block, map, level, part, algorithm or variant of the grid that does not exist, and a variant
    that cannot be called so.

    A cell needs a line under `steps`, for there DVC looks for its settings.
    """
    _check_words("variants", variants)
    lists = ("maps", "levels", "subsets", "ablations")  # named once, used below
    sections = ("data", "controls", "cells", "choosing")
    check_mapping("grid", grid, (*lists, *sections), sections)
    blocks = {}
    for section in ("data", "controls"):
        if not isinstance(grid[section], list):
            raise ValueError(
                f"grid, {section} is {grid[section]!r}; it must be a list of blocks {{maps, levels, parts}}"
            )
        blocks |= {f"grid, {section}, block {i + 1}": block for i, block in enumerate(grid[section])}
    of_cells = {
        f"grid, {section}, {name}": block
        for section in ("cells", "choosing")
        for name, block in check_mapping(f"grid, {section}", grid[section]).items()
    }
    for where, block in {**blocks, **of_cells}.items():
        parts = (*RATIOS, HELD) if where.startswith("grid, data") else RATIOS  # nothing is trained on what is held out
        what_each_may = {"maps": ("map", MAPS), "levels": ("level", LEVELS), "parts": ("part", parts)}
        keys = (*what_each_may, "cells") if where in of_cells else tuple(what_each_may)
        check_mapping(where, block, keys, keys)
        for key, (kind, known) in what_each_may.items():
            _check_names(f"{where}, {key}", block[key], kind, known)
        for cell in check_list(f"{where}, cells", block.get("cells", [])):
            _check_cell(where, cell, variants)
    for where, block in of_cells.items():
        for map_name, level in product(block["maps"], block["levels"]):
            if level not in (steps.get(map_name) or {}):
                raise ValueError(
                    f"{where}: steps has no line for {map_name} {level}; {{}} there means the profile's own"
                )


def _check_cell(where, cell, variants):
    """Raise ValueError for what is no "<algorithm>" or "<algorithm>-<variant>"."""
    algorithm, dash, variant = cell.partition("-")
    check_name("algorithm", algorithm, ALGORITHMS, f"{where}, cells")
    if dash:
        check_name("variant", variant, variants, f"{where}, cells, {cell}")

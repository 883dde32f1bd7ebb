"""Data sets for others: in their layouts, and all of the suite in one archive. What is missing is made first."""

from omac.config.hyper import load_params
from omac.config.names import check_name
from omac.data.episodes import Episodes
from omac.datasets.export import ENDINGS, write_layout
from omac.datasets.registry import DataSet, identify, load
from omac.datasets.release import write_release
from omac.paths import BUILD
from omac.study import prepare


def find_raw(wanted):
    """Return the path of a raw data set, pulled first where it is missing. Raises as `prepare.pull` does."""
    if not wanted.raw_path().exists():
        data = load_params()["data"]
        prepare.pull(wanted.source, wanted.map, wanted.level, data["pull_episodes"], data["seed"])
    return wanted.raw_path()


def export_data(name, layout, out=None):
    """Write a data set in another layout.

    Args:
        name: <source>-<map>-<level> of a raw data set, or with -<part> of a sample.
        layout: vault, pymarl or hdf5.
        out: where to. Default: build/export/<name> with the layout's ending.
    Returns:
        (path, sha256 of the data set's digest)
    Raises:
        ValueError or OSError, in one line: no such data set, or it cannot be made.
    """
    check_name("layout", layout, ENDINGS)
    if name.count("-") == 2:
        wanted = DataSet(*name.split("-"))
        prepare.check_names(wanted.name)
        data = Episodes.load(find_raw(wanted))
        found = identify(data, wanted.raw)
    else:
        prepare.ensure(name)
        data = load(name)
        found = identify(data, name)
    return write_layout(data, layout, out or BUILD / "export" / f"{name}{ENDINGS[layout]}"), found.sha256


def release_suite(out=None):
    """Write the release archive of the suite; minutes, and as long again for each data set that must be made first."""
    return write_release(out=out, find=find_raw)

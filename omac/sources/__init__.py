"""Foreign data -> Episodes, one file a source; `pull` is the one way in."""

from omac import paths
from omac.episodes import write


def raw_path(source, map_name, level, folder=paths.RAW):
    """data/raw/<source>-<map>-<level>.h5."""
    return folder / f"{source}-{map_name}-{level}.h5"


def pull(source, map_name, level, episodes, seed, folder=paths.RAW):
    """Make or fetch one raw data set; returns (path, sha256). Raises ValueError for an unknown source."""
    if source != "smax":
        raise ValueError(f"unknown source {source!r}; there is smax (embedded, rolled out on this machine)")
    from omac.sources import smax

    path = raw_path(source, map_name, level, folder)
    return path, write(path, smax.roll_out(map_name, level, episodes, seed))

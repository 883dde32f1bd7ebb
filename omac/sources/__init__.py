"""Foreign data -> Episodes, one file a layout; `pull` is the one way in, catalogue.py says what there is."""

from omac import paths
from omac.episodes import write


def raw_path(source, map_name, level, folder=paths.RAW):
    """data/raw/<source>-<map>-<level>.h5."""
    return folder / f"{source}-{map_name}-{level}.h5"


def pull(source, map_name, level, episodes, seed, folder=paths.RAW):
    """Make or fetch one raw data set; returns (path, sha256).

    smax is rolled out here: `episodes` battles with `seed`. Every other source is fetched (or taken from OMAC_MIRROR) and
    converted as it is, all of it. Raises ValueError (DataError among them) or OSError, in one line.
    """
    path = raw_path(source, map_name, level, folder)
    if source == "smax":
        from omac.sources import smax

        return path, write(path, smax.roll_out(map_name, level, episodes, seed))
    from omac.sources import foreign

    return path, write(path, foreign.whole(foreign.parts(source, map_name, level), path))

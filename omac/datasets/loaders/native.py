"""Our own HDF5: somebody's Episodes, checked and taken over."""

import numpy as np

from omac.data.episodes import Episodes
from omac.data.validation import DataError
from omac.datasets.loaders.starcraft import GROUP
from omac.paths import shown


def load(files, about):
    """Yield the Episodes of one file in parts. Raises DataError for several files, or one of another map or level."""
    if len(files) != 1:
        raise DataError(
            shown(files[0].parent), "file", f"{len(files)} files", "one data set is one file: remove the others"
        )
    data = Episodes.load(files[0])
    for key in ("map", "level"):
        if data.about[key] != about[key]:
            raise DataError(
                shown(files[0]),
                f"attribute {key}",
                f"{data.about[key]!r}, in the folder {about[key]!r}",
                "a file in the wrong folder",
            )
    said = f"None: the checked file of source {data.about['source']}."
    new = {"source": about["source"], "origin": about["origin"], "conversion": said}
    for lo in range(0, len(data), GROUP):
        yield data.select(np.arange(lo, min(lo + GROUP, len(data))), **new)

"""Progress bars for long work: in a terminal and in a live notebook, never in a log or a saved notebook."""

import os
import sys

from tqdm import tqdm


def bar(label, total, unit, done=0):
    """Return a tqdm bar; label None, OMAC_PROGRESS=0, or an stderr that nobody watches: a silent one."""
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    silent = label is None or os.environ.get("OMAC_PROGRESS") == "0" or not watched
    return tqdm(total=total, initial=done, desc=label, unit=unit, disable=silent, leave=sys.stderr.isatty())

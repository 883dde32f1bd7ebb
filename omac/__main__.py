"""python -m omac <command>: the command line, see omac/cli/."""

import sys

from omac.cli import main

if __name__ == "__main__":
    sys.exit(main())

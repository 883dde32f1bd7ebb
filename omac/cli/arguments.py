"""What the commands share: the parser with its errors in one line, the types of arguments, texts that list names."""

import argparse
import re

from omac.config.names import unknown
from omac.schema import HELD, LEVELS, MAPS, RATIOS

MAP_NAMES, LEVEL_NAMES, PART_NAMES = (", ".join(names) for names in (MAPS, LEVELS, (*RATIOS, HELD)))
A_MAP = f"a map; of SMAX: {MAP_NAMES}"
A_LEVEL = f"a level; of SMAX: {LEVEL_NAMES}"
A_SAMPLE = f"<source>-<map>-<level>-<part>, such as {MAPS[1]}'s smax-{MAPS[1]}-{LEVELS[1]}-100; parts: {PART_NAMES}"
MOST = 10**9  # the largest count that a command takes: more episodes, steps or processes fit no disk and no life


class Parser(argparse.ArgumentParser):
    """Words that mean nothing end in one line and code 2, with the nearest command."""

    def error(self, message):
        """Say what is wrong, and where to read on."""
        if choice := re.search(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message):
            message = unknown(choice[1], choice[2], re.findall(r"[\w-]+", choice[3]))
        self.exit(2, f"error: {' '.join(message.split())}; see `{self.prog} --help`\n")


def positive(text):
    """Return a whole number above 0, for argparse."""
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) == 0 or int(text) > MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0, at most {MOST}")
    return int(text)


def seed(text):
    """Return a seed, a whole number from 0 on, for argparse."""
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed, a whole number from 0 on")
    return int(text)

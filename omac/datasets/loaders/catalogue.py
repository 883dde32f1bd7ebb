"""Where data sets of real StarCraft II are: one entry a source, nothing but facts."""

import re
from dataclasses import dataclass, field

from omac.config.names import guess
from omac.schema import LEVELS

ODIS = "https://raw.githubusercontent.com/LAMDA-RL/ODIS/5f943fa7f99febf174607ffcac4070fa26f475ad/dataset"
OG_MARL = "https://huggingface.co/datasets/InstaDeepAI/og-marl/resolve/main"
MADT_MAPS = ("5m_vs_6m", "6h_vs_8z", "3s5z_vs_3s6z", "corridor", "2c_vs_64zg")


@dataclass(frozen=True)
class Source:
    """Data sets of one origin.

    env       smac: stock observations; smac-madt: MADT's; None: as the file says
    layout    pymarl, vault, madt_pickle or native: the loader
    file      place below a mirror; {map} and {level} are filled in, a * stands for every file that fits
    policies  who fought
    url       public address, None where there is none (any more)
    maps      None: whatever the mirror holds
    sha256    {(map, level): digest}; a digest that nobody published is not in here
    get       for a source without a public address: where people find it
    """

    env: str | None
    layout: str
    file: str
    policies: str
    url: str | None = None
    maps: tuple | None = None
    levels: tuple | None = None
    sha256: dict = field(default_factory=dict)
    get: str = ""


SOURCES = {
    "odis": Source(
        "smac",
        "pymarl",
        "odis/{map}/{level}/part_0.h5",
        "qmix {level}",
        url=ODIS + "/{map}/{level}/qmix_2022-04-03_12-49-45/part_0.h5",
        maps=("3m",),
        levels=("medium",),
        sha256={("3m", "medium"): "58944dde1518c184ca47bf8235f0cc42dcf45ef6c1f253f9edcdce952a71e190"},
    ),
    "omiga": Source(
        "smac-madt",
        "vault",
        "omiga/{map}.zip",
        "madt {level}, a bin of returns",
        url=OG_MARL + "/prior_work/omiga/smac_v1/{map}.zip",
        maps=("5m_vs_6m", "6h_vs_8z", "corridor", "2c_vs_64zg"),
        levels=LEVELS,
    ),
    "ogmarl": Source(
        "smac",
        "vault",
        "ogmarl/{map}.zip",
        "qmix {level}",
        url=OG_MARL + "/core/smac_v1/{map}.zip",
        maps=("3m", "8m", "5m_vs_6m", "2s3z", "3s5z_vs_3s6z"),
        levels=LEVELS,
    ),
    "madt": Source(
        "smac-madt",
        "madt_pickle",
        "madt/{map}/{level}/*",
        "madt {level}, a bin of returns",
        maps=MADT_MAPS,
        levels=LEVELS,
        get="the host of MADT's data is closed; OMIGA's authors share copies at https://cloud.tsinghua.edu.cn/d/f3c509d7a9d54ccd89c4/",
    ),
    "cfcql": Source(
        "smac",
        "pymarl",
        "cfcql/{map}/{level}/*.h5",
        "qmix {level}",
        get="https://github.com/thu-rllab/CFCQL (discrete/README.md) links to it",
    ),
    "icq": Source(
        "smac",
        "pymarl",
        "icq/{map}/{level}/*.h5",
        "icq {level}",
        get="https://github.com/YiqinYang/ICQ (ICQ-MA/README.md) says whom to ask",
    ),
    "own": Source(
        None,
        "native",
        "own/{map}/{level}/*.h5",
        "as the file says",
        get="it is a file that `python -m omac pull` or Episodes.save wrote",
    ),
}


def find(source, map_name, level):
    """Return the Source of a data set. Raises ValueError, in one line, for a source, map or level that is not there."""
    if source not in SOURCES:
        raise ValueError(
            f"unknown source {source!r}; there are smax (embedded, rolled out on this machine) and {', '.join(SOURCES)} "
            f"(StarCraft II); a file of your own becomes a data set with `python -m omac import`{guess(source, ['smax', *SOURCES])}"
        )
    entry = SOURCES[source]
    for what, value, known in (("map", map_name, entry.maps), ("level", level, entry.levels)):
        if known is not None and value not in known:
            raise ValueError(f"{source} has no {what} {value!r}; there {_are(known)}{guess(value, known)}")
        if not re.fullmatch(r"\w+", value, re.ASCII):
            raise ValueError(f"{what} {value!r} is not made of letters, digits and _ alone: rename the folder")
    return entry


def _are(names):
    return f"are {', '.join(names)}" if len(names) > 1 else f"is {names[0]}"

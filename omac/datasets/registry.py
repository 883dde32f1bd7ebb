"""Data sets by name, <source>-<map>-<level>-<part>: where they lie and how they are sampled."""

from dataclasses import dataclass, replace

from omac.config.hyper import load_params
from omac.data.episodes import Episodes, subsample
from omac.data.validation import DataError
from omac.datasets import digest
from omac.paths import ROOT, shown
from omac.schema import HELD, RATIOS


@dataclass(frozen=True)
class DataSet:
    """The name of a data set, in its parts. part: the ratio in %, or "held" for the episodes that are never trained on."""

    source: str
    map: str
    level: str
    part: str = "100"

    def __post_init__(self):
        if self.part not in (*RATIOS, HELD):
            raise ValueError(f"ratio is {self.part} %; the paper has {', '.join(RATIOS)}; {HELD} is never trained on")

    @classmethod
    def parse(cls, name):
        """Read a name such as smax-6h_vs_8z-medium-100. Raises ValueError for another form."""
        parts = name.split("-")
        if len(parts) != 4 or not (parts[3].isdigit() or parts[3] == HELD):
            raise ValueError(
                f"data set {name!r} is not <source>-<map>-<level>-<ratio>, for instance smax-6h_vs_8z-medium-100, "
                "or smax-6h_vs_8z-medium-held for the held-out episodes"
            )
        return cls(*parts)

    @property
    def name(self):
        """<source>-<map>-<level>-<part>."""
        return f"{self.raw}-{self.part}"

    @property
    def raw(self):
        """The name of the raw data set that it is a sample of."""
        return f"{self.source}-{self.map}-{self.level}"

    @property
    def held(self):
        """The held-out episodes beside it: the same for all its ratios."""
        return replace(self, part=HELD)

    def path(self, folder=ROOT / "data"):
        """<folder>/episodes/<name>.h5."""
        return folder / "episodes" / f"{self.name}.h5"

    def raw_path(self, folder=ROOT / "data"):
        """<folder>/raw/<raw>.h5."""
        return folder / "raw" / f"{self.raw}.h5"

    def drawn(self, data):
        """(episodes, episodes skipped before them) that it takes of the seeded permutation of its raw file."""
        if self.part == HELD:
            return data["held_out_episodes"], data["sample_episodes"]
        return data["sample_episodes"] * int(self.part) // 100, 0


def digest_path(name, folder=ROOT / "data"):
    """<folder>/digests/<name>.txt, of a raw data set or a sample."""
    return folder / "digests" / f"{name}.txt"


def identify(data, name, folder=ROOT / "data", made=False):
    """Hold Episodes against the digest of their name, and write it where there is none yet. Returns the Digest.

    A data set of SMAX in data/ is watched by a stage of dvc.yaml. Its digest is written when it was just made and has none,
    and never because the digest is gone: whatever lies on the disk would become the data set. Of all others, those that
    were just made become the digest.

    Args:
        data: Episodes.
        name: of the data set or sample.
        folder: the data folder.
        made: they were just made.
    Raises:
        DataDiffers: other data; the first episode and field, and the remedies.
        DataError: the digest is damaged, or gone.
    """
    path = digest_path(name, folder)
    watched, there = folder == ROOT / "data" and name.startswith("smax-"), path.exists()
    accept = f"dvc repro -f {'subsample' if name.count('-') == 3 else 'pull'}@{name}"
    if made and not (watched and there) or not (watched or there):
        found = digest.of(data)
        digest.write(found, path)
        return found
    if not there:
        cause = f"deleted: restore it with `git checkout -- {shown(path)}`, or make the data set anew with `{accept}`"
        raise DataError(shown(path), "file", "does not exist", cause)
    return digest.hold(data, path, name, accept)


def draw_sample(dataset, params=None, folder=ROOT / "data", raw_folder=None):
    """Sample a raw data set, seeded: `sample_episodes` episodes, the ratio's share of them (nested), or the
    `held_out_episodes` that come after all of them.

    raw_folder: the data folder of the raw data set, default `folder`. Returns (path, Digest). Raises ValueError for an unknown part, too few episodes or other data than the digest's,
    DataError for a bad raw file.
    """
    data, wanted = (params or load_params())["data"], DataSet.parse(dataset)
    raw_folder = raw_folder or folder
    raw = Episodes.load(wanted.raw_path(raw_folder))
    parent = identify(raw, wanted.raw, raw_folder)
    count, skip = wanted.drawn(data)
    sample = subsample(raw, count, data["seed"], parent.sha256, skip)
    found = identify(sample, wanted.name, folder, made=True)
    sample.save(wanted.path(folder))
    return wanted.path(folder), found


def load(dataset, folder=ROOT / "data"):
    """Load the Episodes of a sampled data set, and hold them against their digest.

    Raises DataError for a bad file, ValueError for one of another map or level, or of other data.
    """
    wanted = DataSet.parse(dataset)
    data = Episodes.load(wanted.path(folder))
    if (data.about["map"], data.about["level"]) != (wanted.map, wanted.level):
        raise ValueError(
            f"{shown(wanted.path(folder))} holds {data.about['map']} {data.about['level']}, its name says "
            f"{wanted.map} {wanted.level}: it was renamed or copied"
        )
    identify(data, wanted.name, folder)
    return data

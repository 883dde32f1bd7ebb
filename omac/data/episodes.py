"""Episodes: the one container and the one HDF5 layout, for data sets and rollouts alike. See omac/data/validation.py for the rules."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from omac.data import hdf5
from omac.data.validation import FIELDS, DataError, check, check_shapes
from omac.envs import Spec
from omac.paths import atomic, need_room, shown
from omac.shapes import Array, Bool, Float, Int

CHUNK = 256  # rows of a compressed HDF5 chunk


@dataclass(frozen=True)
class Episodes:
    """N episodes of T steps in all, ragged, without padding; every episode keeps its final observation.

    obs f32 [T+N,n,O], state f32 [T+N,S], avail bool [T+N,n,A]: episode e's rows begin at start[e] + e;
    action i16 [T,n], reward f32 [T] (0-20 scale), terminated bool [T], truncated bool [T]: rows begin at start[e];
    start i64 [N+1], win bool [N], id i64 [N] (place in the parent), policy i32 [N] (place in about["policies"]).
    about: env, map, level, source, seed, versions, reward_scale, horizon, policies, and for a sample its parent; where it
    could not be told how some episodes ended, their ids as unknown_outcomes.
    """

    obs: np.ndarray
    state: np.ndarray
    avail: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    start: np.ndarray
    win: np.ndarray
    id: np.ndarray
    policy: np.ndarray
    about: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.win)

    @property
    def spec(self):
        """The sizes of this data, to hold against a simulator's."""
        return Spec(
            self.about["env"],
            self.about["map"],
            *self.obs.shape[1:],
            self.state.shape[1],
            self.avail.shape[2],
            self.about["horizon"],
        )

    @property
    def lengths(self) -> Int[Array, " N"]:
        """Steps of each episode."""
        return np.diff(self.start)

    @property
    def returns(self) -> Float[Array, " N"]:
        """Undiscounted return of each episode, in double precision."""
        return np.add.reduceat(self.reward.astype(np.float64), self.start[:-1])

    @property
    def unknown(self) -> Bool[Array, " N"]:
        """Which episodes may or may not have been won: others recorded them, and the files do not tell."""
        return np.isin(self.id, self.about.get("unknown_outcomes", ()))

    @property
    def win_rate(self) -> float:
        """Share of the episodes that were won; NaN where that is unknown of some."""
        return float("nan") if self.unknown.any() else float(self.win.mean())

    def rows(self) -> tuple[Int[Array, " T"], Int[Array, " T"]]:
        """Return for each of the T transitions its episode, and the row of o; the row of o' is one further."""
        episode = np.repeat(np.arange(len(self)), self.lengths)
        return episode, np.arange(len(self.reward)) + episode

    def to_go(self, gamma: float = 1.0, reward: Float[Array, " T"] | None = None) -> Float[Array, " T"]:
        """Return the discounted sum of `reward` (default: the data's) from each step to the end of its episode."""
        out, last = (self.reward if reward is None else reward).astype(np.float64), np.zeros(len(self.reward), bool)
        last[self.start[1:] - 1] = True
        for t in range(len(out) - 2, -1, -1):
            if not last[t]:
                out[t] += gamma * out[t + 1]
        return out.astype(np.float32)

    def select(self, ids, **about):
        """Return the episodes at places `ids`, in that order, with `about` updated. Raises IndexError outside 0..N-1."""
        ids = np.asarray(ids, np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= len(self)):
            raise IndexError(f"episode ids run from {ids.min()} to {ids.max()}; this data set has 0 to {len(self) - 1}")
        length = self.lengths[ids]
        start = np.concatenate([[0], np.cumsum(length)])
        step = np.concatenate([np.arange(self.start[i], self.start[i + 1]) for i in ids])
        row = np.concatenate([np.arange(self.start[i] + i, self.start[i + 1] + i + 1) for i in ids])
        by_row = {k: getattr(self, k)[row] for k in ("obs", "state", "avail")}
        by_step = {k: getattr(self, k)[step] for k in ("action", "reward", "terminated", "truncated")}
        by_episode = {k: getattr(self, k)[ids] for k in ("win", "id", "policy")}
        about = {**self.about, **about}
        about.pop("unknown_outcomes", None)
        if doubtful := self.id[ids][self.unknown[ids]].tolist():
            about["unknown_outcomes"] = doubtful
        return Episodes(**by_row, **by_step, **by_episode, start=start, about=about)

    def save(self, path):
        """Check, then write atomically; the same episodes give the same bytes. Returns the file's sha256."""
        return write_episodes(path, [self])

    @classmethod
    def load(cls, path):
        """Read and check a file. Raises DataError (one line: file, field, values, likely cause)."""
        name = shown(path)
        if not Path(path).is_file():
            raise DataError(name, "file", "does not exist" if not Path(path).exists() else "is a folder", _remedy(path))
        with hdf5.opened(path) as f:
            found, about = hdf5.arrays(f, FIELDS, "another layout: pull it through its own source"), hdf5.attributes(f)
            check_shapes(found, about, name)
            arrays = {k: hdf5.read_array(x) for k, x in found.items()}
        try:
            check(arrays, about, name)
        except MemoryError as e:
            raise DataError(name, "file", f"too little memory: {e}", "a small machine") from None
        return cls(**arrays, about=about)


def _remedy(path):
    """The command that makes a missing file, from its name."""
    parts = Path(path).stem.split("-")
    if len(parts) == 4:
        return f"not sampled yet: run `python -m omac pull {' '.join(parts[:3])}`, then `python -m omac subsample {Path(path).stem}`"
    if len(parts) == 3:
        return f"not pulled yet: run `python -m omac pull {' '.join(parts)}`"
    return "a misspelt path: data sets are data/raw/<source>-<map>-<level>.h5 and data/episodes/<source>-<map>-<level>-<ratio>.h5"


def write_episodes(path, parts):
    """Write Episodes one after another into one file, atomically; only one part need be in memory at a time.

    parts: an iterable of Episodes of the same map; `id` becomes the place in the file unless they are a sample.
    The attributes are the first part's, but for the ids of unknown outcomes, which are all parts'. Returns the file's
    sha256. Raises DataError before anything is in place.
    """
    steps, episodes, unknown = 0, 0, []
    with atomic(path) as part_path:
        with hdf5.created(part_path) as f:
            for part in parts:
                doubtful = part.unknown
                if "sample_of" not in part.about:
                    part = replace(part, id=np.arange(episodes, episodes + len(part)))
                unknown += part.id[doubtful].tolist()
                part = replace(part, about={**part.about, "unknown_outcomes": part.id[doubtful].tolist()})
                check({k: getattr(part, k) for k in FIELDS}, part.about, shown(path))
                need_room(path, sum(getattr(part, k).nbytes for k in FIELDS))  # before the work, not after it
                for name in FIELDS:
                    x = part.start[1:] + steps if name == "start" and episodes else getattr(part, name)
                    if not episodes:
                        f.create_dataset(
                            name,
                            dtype=x.dtype,
                            shape=(0, *x.shape[1:]),
                            maxshape=(None, *x.shape[1:]),
                            chunks=(CHUNK, *x.shape[1:]),
                            compression="gzip",
                            compression_opts=1,
                            shuffle=True,
                        )
                        told = {k: v for k, v in part.about.items() if k != "unknown_outcomes"}
                        f.attrs.update({k: json.dumps(told[k], sort_keys=True) for k in sorted(told)})
                    f[name].resize(len(f[name]) + len(x), axis=0)
                    f[name][len(f[name]) - len(x) :] = x
                steps, episodes = steps + len(part.reward), episodes + len(part)
            if unknown:
                f.attrs["unknown_outcomes"] = json.dumps(unknown)
            if "origin" in f.attrs:  # of others: no digest that is kept elsewhere covers it
                hdf5.seal_attributes(f)
        if not episodes:
            raise DataError(
                shown(path), "start", "no episodes to write", "every episode was filtered out, or none was pulled"
            )
        return sha256(part_path)


def subsample(episodes, count, seed, parent, skip=0):
    """`count` episodes drawn without replacement (B: "randomly sample 1000 episodes"), in drawn order.

    One seeded permutation is cut off at `count`, so a smaller sample with the same seed lies inside a larger one; with
    `skip`, the first so many are left out: these are the held-out episodes. Raises ValueError when there are too few.
    """
    if count < 1 or skip + count > len(episodes):
        after = f" after the first {skip}" if skip else ""
        raise ValueError(
            f"cannot sample {count} of {len(episodes)} episodes{after}: pull more, or ask for fewer (params.yaml, data)"
        )
    ids = np.random.default_rng(seed).permutation(len(episodes))[skip : skip + count]
    return episodes.select(ids, sample_seed=seed, sample_of=len(episodes), parent=parent)


def sha256(path):
    """Hex sha256 of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

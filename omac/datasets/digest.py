"""The identity of a data set: a digest over what no processor changes, and the small text file that keeps it.

Not in this file: how episodes are read and written, and which data set belongs to which digest file.
"""

import hashlib
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from omac.data.validation import DataError
from omac.paths import atomic, shown

# What is hashed, in this order and in these types, then the rewards. Observations and states are left out: simulator
# and actions determine them.
HASHED = {
    "start": "<i8",
    "action": "<i2",
    "avail": "u1",
    "terminated": "u1",
    "truncated": "u1",
    "win": "u1",
    "id": "<i8",
    "policy": "<i4",
}
# Rewards are hashed as whole multiples of 1/15120. SMAX pays 10/enemies times a sum of lost health over full health,
# both whole numbers, and 10 for the win: multiples of 1/27 on 5m_vs_6m, of 1/120 on 6h_vs_8z, of 1/2160 on
# 3s5z_vs_3s6z, of 1/84 on corridor. 15120 is their least common multiple, so that rounding removes the error of float32
# alone: at most 1.1e-6 in twelve sets of the four maps, where it takes 3.3e-5 to round to another number. In units of
# 1e-4 the rewards of 3s5z_vs_3s6z come within 1.8e-6 of the middle between two numbers, in units of 1e-3 to the middle.
REWARD_UNITS = 15120
# The eight hex digits of an episode: two for each of these, the first of the sha256 of the fields named.
PAIRS = {
    "length or actions": ("action",),
    "available actions": ("avail",),
    "rewards": ("reward",),
    "flags or labels": ("terminated", "truncated", "win", "id", "policy"),
}
# Attributes that are no part of the provenance: words, what was measured of the policies, the sizes, which stand beside
# it, and hashes of files. All others are, settings of the simulator among them.
NOT_PROVENANCE = ("note", "conversion", "origin", "policy_returns", "sizes")
PROJECTIONS = 8  # of all agents' observations, and of the state, whose mean and standard deviation are kept
# How far a mean or standard deviation of a projection may lie from the recorded one. On SMAX they agree to 5e-9 with
# and without fused multiply-add. One feature shifted by a hundredth of its standard deviation moves one of them by 5e-4
# or more, and so do any two features, or agents, that change places.
TOLERANCE = 5e-5
BLOCK = 1 << 13  # rows that are projected at a time, in double precision
PER_LINE = 10  # episodes in a line of the file
LISTED = 6  # sizes and attributes that an error lists
SECTIONS = ("sizes", "provenance", "moments")
NONE = "nothing"  # in place of the value of an attribute that only one of two digests has


class DataDiffers(ValueError):
    """The data are not those that a digest file records. One line: the data set, what differs, and the remedies."""


@dataclass(frozen=True)
class Digest:
    """What identifies a data set.

    sha256: hex, over battles, sizes and provenance. battles: hex, over the discrete content alone.
    sizes: episodes, steps, n, O, S, A. provenance: JSON values by name. moments: lists by name, no part of sha256.
    episodes: eight hex digits each, see PAIRS.
    """

    sha256: str
    battles: str
    sizes: dict
    provenance: dict
    moments: dict
    episodes: tuple


class Difference(NamedTuple):
    """One thing in which two digests differ.

    kind: "battles", "sizes", "provenance" or "moments". name: of battles the episode (int), or "sha256" where no
    episode's digits show it; else which size, attribute or array. found, wanted: the two values.
    """

    kind: str
    name: str | int
    found: object
    wanted: object


def of(data, parent=None):
    """Compute the digest of Episodes.

    Args:
        data: Episodes, checked.
        parent: of a sample, the sha256 of its parent's digest. Default: the attribute `parent` of the data, if any.
    Returns:
        A Digest.
    Raises:
        ValueError: the data name another parent. DataError: as `check_identity`.
    """
    check_identity(data, "-".join(str(data.about.get(k)) for k in ("source", "map", "level")))
    named = data.about.get("parent", parent)
    if parent is not None and named != parent:
        raise ValueError(f"the sample was drawn from {named}, its parent is {parent} now: draw it again")
    about = {k: v for k, v in data.about.items() if k not in NOT_PROVENANCE}
    provenance = json.loads(_canonical(about if named is None else {**about, "parent": named}))
    widths = (*data.obs.shape[1:], data.state.shape[1], data.avail.shape[2])
    sizes = {"episodes": len(data), "steps": len(data.reward), **dict(zip("nOSA", widths, strict=True))}
    fields = _discrete(data)
    battles = hashlib.sha256(b"".join(x.tobytes() for x in fields.values())).hexdigest()
    moments = {**_moments("obs", data.obs), **_moments("state", data.state)}
    return Digest(_identity(battles, sizes, provenance), battles, sizes, provenance, moments, _episodes(fields))


def check_identity(data, name):
    """Raise DataError for Episodes that no digest can identify, called `name`.

    An attribute holds a number that is not finite, which equals nothing, itself neither; or two episodes have one id.
    """
    for key, value in data.about.items():
        try:
            _canonical(value)
        except ValueError:
            found = "a number that is not finite, in " + json.dumps(value)
            raise DataError(name, f"attribute {key}", found, "a damaged file, or one made by hand") from None
    ids, counts = np.unique(data.id, return_counts=True)
    if counts.max() > 1:
        found = f"{counts.max()} episodes have the id {ids[counts.argmax()]}"
        raise DataError(name, "id", found, "files joined twice, or a sample drawn with replacement")


def write(digest, path):
    """Write a digest as text, atomically; leave a file alone that says the same (`compare`). Returns the path."""
    try:
        same = not compare(digest, read(path))
    except DataError:  # missing or damaged
        same = False
    if not same:
        with atomic(path) as part:
            part.write_text(_text(digest), encoding="ascii", newline="\n")
    return path


def read(path):
    """Read a digest. Raises DataError, one line, for a file that is missing, damaged or edited."""
    restore = f"restore it with `git checkout -- {shown(path)}`"
    try:
        content = Path(path).read_bytes()
    except OSError as e:
        raise DataError(shown(path), "file", e.strerror, f"deleted, or not made yet: {restore}") from None
    try:
        digest = _parse(content.decode("ascii"))
        identity = _identity(digest.battles, digest.sizes, digest.provenance)
        sound = _text(digest).encode("ascii") == content and identity == digest.sha256
    except (ValueError, TypeError, KeyError, RecursionError):
        sound = False
    if not sound:
        found = "does not belong to the lines above it, or these are no digest"
        raise DataError(shown(path), "checksum", found, f"a flipped bit, an edit or an unfinished merge: {restore}")
    return digest


def compare(found, wanted):
    """List the Differences between two digests; none when they are of the same data.

    Battles that differ come with their episodes, in order. The moments are looked at where the battles are equal.
    """
    sizes = _entries("sizes", found.sizes, wanted.sizes)
    provenance = _entries("provenance", _flat(found.provenance), _flat(wanted.provenance))
    if found.battles != wanted.battles:
        both = zip(found.episodes, wanted.episodes, strict=False)
        episodes = [Difference("battles", e, a, b) for e, (a, b) in enumerate(both) if a != b]
        return (episodes or [Difference("battles", "sha256", found.battles, wanted.battles)]) + sizes + provenance
    moments = [] if sizes else [d for name in ("obs", "state") for d in _moved(name, found.moments, wanted.moments)]
    return sizes + provenance + moments


def hold(data, path, name, accept, parent=None):
    """Hold Episodes against a digest file.

    Args:
        data: Episodes, checked.
        path: the digest file.
        name: what the error calls the data set.
        accept: the command that takes these data as one's own, for instance "dvc repro -f pull@smax-6h_vs_8z-poor".
        parent: as in `of`.
    Returns:
        The Digest of the data.
    Raises:
        DataDiffers: one line: the name, the first episode and field that differ or what else does, the remedies.
        DataError: the digest file is missing or damaged.
    """
    wanted = read(path)
    found = of(data, parent)
    differences = compare(found, wanted)
    if differences:
        raise DataDiffers(
            f"{name} is not the data set of {shown(path)}: {describe(differences, wanted)}. "
            f"Install the locked versions (requirements.txt) and make it again, or accept it with `{accept}`: "
            "the cells trained on it are then your own"
        )
    return found


def describe(differences, wanted):
    """Say in one line what `compare` found, given the digest `wanted` that it compared with."""
    battles = [d for d in differences if d.kind == "battles"]
    facts = [d for d in differences if d.kind in ("sizes", "provenance")]
    moments = [d for d in differences if d.kind == "moments"]
    said = []
    if battles:
        said.append(_say_battles(battles, wanted.sizes["episodes"]))
    else:
        only = not moments and all(d.name.startswith("versions.") for d in facts)
        said.append(f"all {wanted.sizes['episodes']} battles are equal" + ", only the versions differ" * only)
    facts = sorted(facts, key=lambda d: not d.name.startswith("versions."))  # versions first
    said += [f"{d.name} is {json.dumps(d.found)}, recorded {json.dumps(d.wanted)}" for d in facts[:LISTED]]
    said += [f"and so on for {len(facts) - LISTED} more"] * (len(facts) > LISTED)
    said += [_say_moments(d, wanted.sizes) for d in moments]
    if battles and not any(d.kind == "provenance" for d in facts):
        versions = ", ".join(f"{k} {v}" for k, v in (wanted.provenance.get("versions") or {}).items()) or "nothing"
        said.append(f"both name the same provenance, seed {wanted.provenance.get('seed')} and {versions}")
    return "; ".join(said)


def _say_battles(battles, episodes):
    first, *others = battles
    if first.name == "sha256":
        return "the battles differ, in what no episode's digits show"
    more = f", and so do {len(others)} more" if others else ""
    return f"episode {first.name} of {episodes} differs in {fields_of(first.found, first.wanted)}{more}"


def fields_of(found, wanted):
    """Name what two episodes' eight digits differ in, in words."""
    digits = [(found[i : i + 2], wanted[i : i + 2]) for i in range(0, 2 * len(PAIRS), 2)]
    return " and ".join(name for name, (a, b) in zip(PAIRS, digits, strict=True) if a != b)


def _say_moments(difference, sizes):
    array, moment = difference.name.split()
    moved = np.subtract(difference.found, difference.wanted)
    agents, features = (sizes["n"], sizes["O"]) if array == "obs" else (1, sizes["S"])
    w = _directions(array, agents * features).reshape(agents, features, PROJECTIONS).sum(0)
    shift = w @ moved / (w**2).sum(1)  # of each feature, were it the only one that moved, for all agents
    rest = np.abs(moved - w * shift[:, None]).max(1)
    j = int(rest.argmin())
    said = f"the {moment} of the projections of {array} moved by up to {np.abs(moved).max():.2g}"
    if moment == "mean" and rest[j] < 0.1 * np.abs(moved).max():
        return f"{said}, as if feature {j} were shifted by {shift[j]:+.2g}"
    return f"{said}, as if features or agents changed places or scale"


def _canonical(x):
    """The one JSON text of a value, to be hashed."""
    return json.dumps(x, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _identity(battles, sizes, provenance):
    """The sha256 of a Digest."""
    return hashlib.sha256(_canonical([battles, sizes, provenance]).encode()).hexdigest()


def _discrete(data):
    """The fields that are hashed, in fixed types: HASHED, then the rewards in units of 1 / REWARD_UNITS."""
    fields = {name: getattr(data, name).astype(kind) for name, kind in HASHED.items()}
    return {**fields, "reward": np.rint(data.reward.astype(np.float64) * REWARD_UNITS).astype("<i8")}


def _episodes(fields):
    """The eight hex digits of each episode."""
    out = []
    for e, (lo, hi) in enumerate(pairwise(fields["start"])):
        place = {"avail": slice(lo + e, hi + e + 1), **dict.fromkeys(("win", "id", "policy"), slice(e, e + 1))}
        parts = (b"".join(fields[k][place.get(k, slice(lo, hi))].tobytes() for k in names) for names in PAIRS.values())
        out.append("".join(hashlib.sha256(part).hexdigest()[:2] for part in parts))
    return tuple(out)


def _directions(array, columns):
    """Fixed weights f64 [columns, PROJECTIONS], 0.5 to 1.5 with either sign: each feature counts in each projection."""
    noise = hashlib.shake_256(array.encode()).digest(2 * columns * PROJECTIONS)
    u = np.frombuffer(noise, "<i2").reshape(columns, PROJECTIONS) / 2**15
    return u + np.copysign(0.5, u)


def _moments(array, x):
    """Mean and standard deviation over rows, six decimals, of each projection of x [rows,...], all agents together."""
    x = x.reshape(len(x), -1)
    w = _directions(array, x.shape[1])
    z = np.concatenate([x[i : i + BLOCK].astype(np.float64) @ w for i in range(0, len(x), BLOCK)])
    found = {"mean": z.mean(0), "std": z.std(0)}
    return {f"{array} {name}": (np.round(v, 6) + 0.0).tolist() for name, v in found.items()}  # + 0.0: never "-0.0"


def _text(digest):
    """The content of the file; its last line is the sha256 of all above it."""
    lines = [f"sha256: {digest.sha256}", f"battles: {digest.battles}"]
    for section in SECTIONS:
        lines += [f"{section}.{k}: {json.dumps(v, sort_keys=True)}" for k, v in getattr(digest, section).items()]
    episodes = digest.episodes
    lines += ["episodes:", *(" ".join(episodes[i : i + PER_LINE]) for i in range(0, len(episodes), PER_LINE))]
    body = "".join(f"{line}\n" for line in lines)
    return f"{body}checksum: {hashlib.sha256(body.encode()).hexdigest()}\n"


def _parse(text):
    """The Digest that a file's content says, believed as it is."""
    lines = text.splitlines()
    at = lines.index("episodes:")
    entries = dict(line.split(": ", 1) for line in lines[:at])
    sections = {
        section: {
            k.removeprefix(f"{section}."): json.loads(v) for k, v in entries.items() if k.startswith(f"{section}.")
        }
        for section in SECTIONS
    }
    return Digest(
        entries["sha256"], entries["battles"], **sections, episodes=tuple(" ".join(lines[at + 1 : -1]).split())
    )


def _flat(provenance):
    """Provenance with the entries of its dicts and lists one by one: "versions.jax", "policies.0"."""
    out = {}
    for name, value in provenance.items():
        parts = dict(enumerate(value)) if isinstance(value, list) else value
        out.update({f"{name}.{k}": v for k, v in parts.items()} if isinstance(parts, dict) else {name: value})
    return out


def _entries(kind, found, wanted):
    """The Differences of two dicts, by name."""
    values = {name: (found.get(name, NONE), wanted.get(name, NONE)) for name in sorted({*found, *wanted})}
    return [Difference(kind, name, a, b) for name, (a, b) in values.items() if a != b]


def _moved(array, found, wanted):
    """The Differences of an array's moments that are larger than TOLERANCE."""
    both = {name: (found[name], wanted[name]) for name in (f"{array} mean", f"{array} std")}
    return [Difference("moments", k, a, b) for k, (a, b) in both.items() if np.abs(np.subtract(a, b)).max() > TOLERANCE]

"""Bytes from disk are believed after a look at their digest: in a file's last line, or in its folder's SHA256SUMS.

Files that stages write side by side, rows and checkpoints, end in their own digest: no second file gets out of step, two
writers never meet in one, and a merge that mixes two versions is found. A reader of zips or of CSV with comments sees the
same content. Files that are made seldom and by hand are listed, so that `sha256sum -c` alone can look at them.
"""

import hashlib
from pathlib import Path

from omac.paths import atomic, shown

MARK = b"# sha256 "  # begins the line that seals a file
SUMS = "SHA256SUMS"  # of a folder, as `sha256sum -c` reads it


def seal(content):
    """Add a last line with the sha256 of all bytes above it."""
    return content + MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"


def unseal(content, name, remedy=None):
    """Take the last line off again. content: bytes; name: what an error calls them. Returns bytes.

    Raises ValueError, one line, when the bytes are not those that were sealed.
    """
    remedy = remedy or f"restore it with `git checkout -- {name}`, or make it again"
    whole, found, digest = content.rpartition(MARK)
    if not found:
        raise ValueError(
            f"{name} does not end in a line `{MARK.decode()}...`: it was not written here, or cut off; {remedy}"
        )
    if hashlib.sha256(whole).hexdigest().encode() + b"\n" != digest:
        raise ValueError(
            f"{name} is not as it was written (its sha256 differs): a flipped bit, an edit or a merge; {remedy}"
        )
    return whole


def record_sums(*paths):
    """Write the sha256 of files of one folder into its SHA256SUMS, the others' lines kept. Returns its path."""
    sums = Path(paths[0]).parent / SUMS
    known = _read(sums) if sums.exists() else {}
    known |= {Path(p).name: hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in paths}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(known.items()) if (sums.parent / name).exists()]
    with atomic(sums) as part:
        part.write_text("".join(lines))
    return sums


def checked_bytes(path, anew="make it again"):
    """Hold a file against its folder's SHA256SUMS. anew: how such a file is made anew, for the error. Returns its bytes.

    Raises ValueError, one line, for a file that is not listed or has another sha256, OSError for a missing one.
    """
    path = Path(path)
    content, found = path.read_bytes(), None
    if (path.parent / SUMS).exists():
        found = _read(path.parent / SUMS).get(path.name)
    restore = f"restore it with `git checkout -- {shown(path)}`, or {anew}"
    if found is None:
        raise ValueError(f"{shown(path)} is not listed in {shown(path.parent / SUMS)}: {restore}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != found:
        raise ValueError(f"{shown(path)} has the sha256 {digest[:12]}..., {SUMS} says {found[:12]}...: {restore}")
    return content


def check_sums(sums):
    """Hold every file that a SHA256SUMS lists against it. Returns their paths. Raises as `checked_bytes` does."""
    paths = [sums.parent / name for name in _read(sums)]
    for path in paths:
        checked_bytes(path)
    return paths


def _read(sums):
    """{file name: sha256} of a SHA256SUMS. Raises ValueError for a line of another form."""
    known = {}
    for number, line in enumerate(sums.read_text().splitlines(), 1):
        digest, two, name = line.partition("  ")
        if len(digest) != 64 or not two or not name:
            raise ValueError(
                f"{shown(sums)}, line {number}: {line!r} is no sha256 and file name: `git checkout -- {shown(sums)}`"
            )
        known[name] = digest
    return known

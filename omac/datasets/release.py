"""The release archive: the suite's raw data sets as HDF5, digests, cards, description, licence and checksums in one zip."""

import hashlib
import json
import subprocess
import zipfile

from omac import __version__
from omac.data.episodes import Episodes, sha256
from omac.datasets.croissant import DESCRIPTION, SUITE, TABLE, describe_suite, suite_table
from omac.datasets.registry import DataSet, digest_path, identify
from omac.files import SUMS
from omac.paths import BUILD, ROOT, atomic, need_room
from omac.progress import bar

TEXTS = ("LICENSE", "CITATION.cff")
COPIED = 1 << 20
MIDNIGHT = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same content gives the same bytes
RELEASE_README = """# OMAC's SMAX data sets, version {version}

{lines}

- `raw/<name>.h5`: whole episodes. `obs`, `state` and `avail` have one row more per episode than `action` and `reward`: the view
  after its last step. Episode e has the steps start[e] to start[e + 1], and its views begin at start[e] + e.
- `digests/`: what identifies each data set, whatever the bytes of its file. `cards/`: its numbers.
- `{table}`: one line per data set. `{description}`: the same for machines (MLCommons' Croissant).
- `{sums}`: of all files, as `sha256sum -c` reads them. Licence: LICENSE. How to cite: CITATION.cff.
"""


def write_release(names=SUITE, folder=ROOT / "data", out=None, find=None):
    """Write the release archive, atomically. The same data sets and commit give the same bytes.

    Args:
        names: raw data sets.
        folder: the data folder.
        out: the zip. Default: build/release/omac-smax-<version>.zip.
        find: path of a raw data set by its DataSet, which makes a missing one. Default: its place in `folder`.
    Returns:
        The path. Beside it lies <name>.sha256.
    Raises:
        ValueError: a data set is not the one of its digest; OSError for a missing card, digest or raw file.
    """
    out = out or BUILD / "release" / f"omac-smax-{__version__}.zip"
    members = {f"raw/{n}.h5": (find or (lambda d: d.raw_path(folder)))(DataSet(*n.split("-"))) for n in names}
    for name, path in zip(names, members.values(), strict=True):
        identify(Episodes.load(path), name, folder)
    members |= {f"digests/{n}.txt": digest_path(n, folder) for n in names}
    maps = dict.fromkeys("-".join(n.split("-")[:2]) for n in names)
    members |= {f"cards/{p.name}": p for m in maps for p in sorted((folder / "cards").glob(f"{m}[.-]*csv"))}
    known = {name: (path.stat().st_size, sha256(path)) for name, path in members.items()}
    texts = _texts(suite_table(names, folder), known)
    out.parent.mkdir(parents=True, exist_ok=True)
    size = sum(size for size, _ in known.values())
    need_room(out, size)
    with atomic(out) as part, zipfile.ZipFile(part, "w") as z, bar(out.name, size, "B") as progress:
        for name in sorted([*members, *texts]):
            _add(z, f"{out.stem}/{name}", members.get(name), texts.get(name), progress)
    with atomic(out.with_suffix(".zip.sha256")) as part:
        part.write_text(f"{sha256(out)}  {out.name}\n")
    return out


def _texts(table, known):
    """{name: bytes} of what is written for the archive, given the (size, sha256) of its other files."""
    texts = {TABLE: table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()}
    listed = known | {TABLE: (len(texts[TABLE]), hashlib.sha256(texts[TABLE]).hexdigest())}
    texts[DESCRIPTION] = (json.dumps(describe_suite(table, listed, _published()), indent=1) + "\n").encode()
    lines = "\n".join(
        f"- {x.name}: {x.episodes} episodes, {x.transitions} transitions" for x in table.itertuples(index=False)
    )
    about = RELEASE_README.format(version=__version__, lines=lines, table=TABLE, description=DESCRIPTION, sums=SUMS)
    texts |= {"README.md": about.encode(), **{name: (ROOT / name).read_bytes() for name in TEXTS}}
    sums = {name: hashlib.sha256(x).hexdigest() for name, x in texts.items()} | {n: x for n, (_, x) in known.items()}
    texts[SUMS] = "".join(f"{x}  {name}\n" for name, x in sorted(sums.items())).encode()
    return texts


def _published():
    """The date of the commit, ISO; None outside a git checkout."""
    words = ["git", "log", "-1", "--format=%cs"]
    try:
        said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return said.stdout.strip() or None


def _add(z, name, path, content, progress):
    """Add a member: the file at `path`, or `content`. HDF5 is compressed already, so nothing is packed again."""
    info = zipfile.ZipInfo(name, MIDNIGHT)
    info.external_attr = 0o644 << 16
    with z.open(info, "w", force_zip64=True) as to:
        if path is None:
            to.write(content)
            return
        with open(path, "rb") as f:
            while block := f.read(COPIED):
                to.write(block)
                progress.update(len(block))

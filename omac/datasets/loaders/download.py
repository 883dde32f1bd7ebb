"""Files from the network or from a mirror: resumed when broken off, held against their digest, unpacked with care."""

import hashlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests

from omac import paths
from omac.data.episodes import sha256
from omac.data.validation import DataError
from omac.paths import shown
from omac.progress import bar

REMEDY = "the same command goes on from there; without a network set OMAC_MIRROR to a folder or address that holds"
ATTEMPTS = 5  # connections that may break before giving up; what arrived stays
WAIT = (20, 60)  # seconds to connect, and without a byte
BLOCK = 1 << 16
LARGEST = 64 << 30  # bytes that an archive may unpack to


def mirror():
    """OMAC_MIRROR: None, a folder (Path), or an http(s) address without a slash at its end (str)."""
    value = os.environ.get("OMAC_MIRROR", "").strip()
    if not value:
        return None
    if value.startswith("file:"):
        return Path(url2pathname(urlsplit(value).path))
    return value.rstrip("/") if re.match(r"https?://", value) else Path(value).expanduser()


def obtain(entry, file, digest=None, url=None):
    """Local paths of the files of a Source `entry`, sorted by name, and where they come from {address, files}.

    file    place below a mirror; one that ends in * or *.h5 stands for all such files of a folder
    digest  sha256 that a single file must have; None where nobody published one
    url     public address, if any
    Raises DataError for a missing file or another digest, ConnectionError for a broken download; one line each.
    """
    there, folder = mirror(), PurePosixPath(file).parent
    if "*" in file:
        if not isinstance(there, Path):
            raise DataError(
                file,
                "file",
                "there is no address to download it from",
                f"{entry.get}; put it at <folder>/{file} and set OMAC_MIRROR to <folder>",
            )
        found = sorted(p for p in (there / folder).glob(PurePosixPath(file).name) if p.is_file() and p.name[0] != ".")
        if not found:
            raise DataError(
                shown(there / folder), "file", "nothing there", f"{entry.get}; put it at <OMAC_MIRROR>/{file}"
            )
        digests = {p.name: sha256(p) for p in found}
        return found, {"address": f"OMAC_MIRROR/{folder}", "files": _short(digests)}
    if isinstance(there, Path):
        path = there / file
        if not path.is_file():
            raise DataError(
                shown(path), "file", "does not exist", f"OMAC_MIRROR has another layout: unset it to download {url}"
            )
        got = sha256(path)
        if digest not in (None, got):
            raise DataError(
                shown(path), "sha256", f"{got}, expected {digest}", "a damaged or other file: replace it in the mirror"
            )
    else:
        try:
            path = download(
                f"{there}/{file}" if there else url, paths.BUILD / "downloads" / file.replace("/", "-"), digest
            )
        except ConnectionError as e:
            raise ConnectionError(f"{e}; {REMEDY} {file}") from None
        got = sha256(path)
    address = url if digest or there is None else f"OMAC_MIRROR/{file} in place of {url}"
    return [path], {"address": address, "files": {PurePosixPath(file).name: got}}


def _short(digests):
    """{name: sha256} of few files; of many, their number and the sha256 of all these lines (`sha256sum *`)."""
    if len(digests) <= 16:
        return digests
    lines = "".join(f"{d}  {name}\n" for name, d in digests.items())
    return {"count": len(digests), "sha256 of the list": hashlib.sha256(lines.encode()).hexdigest()}


def download(url, path, digest=None):
    """The file at `url` as `path`, which is taken as it is if it is there; a broken download goes on where it stopped.

    Raises ConnectionError when the address cannot be read to its end, DataError for another digest. One line each.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        _fetch(url, part)
        os.replace(part, path)
    if digest and (got := sha256(path)) != digest:
        path.unlink()
        raise DataError(
            url,
            "sha256",
            f"{got}, expected {digest}",
            "damaged on its way or changed there: deleted, run the command again",
        )
    return path


def _fetch(url, part):
    for attempt in range(ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        try:
            if _go_on(url, part):
                return
            reason = "the connection closed"
        except requests.HTTPError as e:
            raise ConnectionError(f"{url}: {e.response.status_code} {e.response.reason}") from None
        except requests.RequestException as e:
            reason = type(e).__name__
        after = part.stat().st_size if part.exists() else 0
        if after <= before and attempt:
            break
    after = part.stat().st_size if part.exists() else 0
    raise ConnectionError(f"{url}: {reason} after {after} bytes")


def _go_on(url, part):
    """One connection that adds to `part`; True when the file is whole."""
    have = part.stat().st_size if part.exists() else 0
    ask = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=ask, stream=True, timeout=WAIT) as answer:
        if answer.status_code == 416:  # nothing after `have`: whole, or of another file
            whole = answer.headers.get("Content-Range", "").endswith(f"*/{have}")
            if not whole:
                part.unlink()
            return whole
        answer.raise_for_status()
        if answer.status_code != 206:
            have = 0  # the server sends all of it again
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            return False
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if have else "wb") as f, bar(part.stem, total, "B", have) as progress:
            for block in answer.iter_content(BLOCK):
                f.write(block)
                progress.update(len(block))
        return total is None or part.stat().st_size == total


def unpack(archive):
    """The folder of build/downloads that a zip was unpacked to; done once for the same bytes.

    What lies there is held against the archive, and unpacked anew where it differs. Raises DataError, before anything is
    written, if one member would land outside, is no plain file or folder, or if all are absurdly large.
    """
    target = paths.BUILD / "downloads" / f"{archive.stem}-{sha256(archive)[:12]}"
    name = shown(archive)
    try:
        with zipfile.ZipFile(archive) as z:
            if target.is_dir():
                if _as_packed(target, z):
                    return target
                print(f"{shown(target)} is not what {name} holds: unpacking it anew")
                shutil.rmtree(target)
            for member in z.infolist():
                if _escapes(member):
                    raise DataError(
                        name,
                        "file",
                        f"member {member.filename!r} leads outside",
                        "an unsafe archive: nothing was unpacked",
                    )
            size, room = sum(m.file_size for m in z.infolist()), shutil.disk_usage(archive.parent).free
            if size > min(LARGEST, room):
                raise DataError(
                    name,
                    "file",
                    f"unpacks to {size} bytes, {min(LARGEST, room)} are allowed",
                    "a broken archive, or a full disk",
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as part:
                z.extractall(Path(part) / "all")
                os.replace(Path(part) / "all", target)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, zlib.error) as e:
        raise DataError(
            name, "file", str(e).replace("\n", " "), "a damaged archive: delete it and pull again"
        ) from None
    return target


def _as_packed(folder, z):
    """Whether a folder holds the files of a zip and no others, each as long and with the CRC-32 that the zip has of it."""
    packed = {folder / m.filename: (m.file_size, m.CRC) for m in z.infolist() if not m.is_dir()}
    there = {p for p in folder.rglob("*") if not p.is_dir()}
    return packed.keys() == there and all((p.stat().st_size, _crc(p)) == told for p, told in packed.items())


def _crc(path):
    """The CRC-32 of a file."""
    found = 0
    with open(path, "rb") as f:
        while block := f.read(BLOCK):
            found = zlib.crc32(block, found)
    return found


def _escapes(member):
    """Whether a zip member is a link or device, absolute, on another drive, or climbs out with `..`."""
    name, kind = member.filename.replace("\\", "/"), stat.S_IFMT(member.external_attr >> 16)
    windows = PureWindowsPath(name)
    return bool(
        kind not in (0, stat.S_IFREG, stat.S_IFDIR)
        or windows.drive
        or windows.root
        or ".." in windows.parts
        or "\0" in name
    )

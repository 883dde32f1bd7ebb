"""Files from the network or from a mirror: resumed when broken off, compared with their digest, unpacked with care."""

import errno
import hashlib
import http.client
import os
import queue
import re
import shutil
import stat
import tempfile
import threading
import time
import zipfile
import zlib
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
import urllib3

from omac import paths
from omac.data.episodes import sha256
from omac.data.hdf5 import SIGNATURE
from omac.data.validation import DataError
from omac.paths import alone, shown
from omac.progress import bar

REMEDY = "the same command goes on from there; without a network set OMAC_MIRROR to a folder or address that holds"
ATTEMPTS = 5  # connections that may break, or be put off, before giving up; what arrived stays
TIMEOUT = (20, 60)  # seconds to connect, and without a byte
BUSY = (408, 429, 500, 502, 503, 504)  # answers of a server that may know better in a moment
PAUSE = 60  # seconds that a server may ask to be left alone; the first pause is one, and each is twice the last
SLOWEST = 1024  # bytes a second, over the second of TIMEOUT
BLOCK = 1 << 16
LARGEST = 64 << 30  # bytes that an archive may unpack to


def mirror():
    """OMAC_MIRROR: None, a folder (Path), or an http(s) address without a slash at its end (str).

    A relative folder begins at the root of the checkout, so that it means the same in a shell, whatever its folder, in a
    notebook and in a cell of the study. `#` and `?` are letters of a folder's name, in a file: address too.
    Raises ValueError for an address of another kind, which it does not repeat: it may hold a password.
    """
    value = os.environ.get("OMAC_MIRROR", "").strip()
    if not value:
        return None
    if value.startswith("file:"):
        return paths.ROOT / url2pathname(urlsplit(value.replace("#", "%23").replace("?", "%3F")).path)
    if re.match(r"https?://", value, re.IGNORECASE):
        _check_address(value)
        return value.rstrip("/")
    if re.match(r"[a-z][\w+.-]+:/|(//)?[^/\\]+:[^/\\]*@", value, re.IGNORECASE):
        raise ValueError("OMAC_MIRROR is neither a folder nor an address that begins with http://, https:// or file:")
    return paths.ROOT / Path(value).expanduser()


def _check_address(value):
    """Raise ValueError, which does not repeat it, for an address that names no server, or below which no file can be."""
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("OMAC_MIRROR is no address: a server's name is missing or misspelt, or its port is none")
    if parts.query or parts.fragment:
        raise ValueError("OMAC_MIRROR has a ? or #, and names of files are put behind it: leave out what follows it")


def public(address):
    """Return an address as messages print it: without what may be secret in it, user, password and query."""
    return re.split(r"[?#]", re.sub(r"(?<=://).*@", "", address))[0]


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
        return found, {"address": f"OMAC_MIRROR/{folder}", "files": short_list(digests)}
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


def short_list(digests):
    """{name: sha256} of few files; of many, their number and the sha256 of all these lines (`sha256sum *`)."""
    if len(digests) <= 16:
        return digests
    lines = "".join(f"{d}  {name}\n" for name, d in digests.items())
    return {"count": len(digests), "sha256 of the list": hashlib.sha256(lines.encode()).hexdigest()}


def download(url, path, digest=None):
    """Return the file at `url` as `path`, which is taken as it is if it is there; a broken download is resumed.

    Two processes that ask for the same file do so one after the other, and the second finds it there.
    Raises ConnectionError when the address cannot be read to its end, DataError for another digest, or for what is no file
    of that kind, such as a login page. One line each, without what is secret in the address.
    """
    with alone(path.with_name(f".{path.name}.lock"), f"another process downloads {shown(path)}"):
        if path.is_file() and _foreign(path):
            path.unlink()
        if not path.is_file():
            part = path.with_name(f"{path.name}.part")
            _fetch(url, part, digest is not None)
            _tag(part).unlink(missing_ok=True)
            if found := _foreign(part, path.suffix):
                part.unlink()
                cause = "a login or error page in place of the file: nothing was kept, try the address in a browser"
                raise DataError(public(url), "file", found, cause)
            os.replace(part, path)
        if digest and (got := sha256(path)) != digest:
            path.unlink()
            raise DataError(
                public(url),
                "sha256",
                f"{got}, expected {digest}",
                "damaged on its way or changed there: deleted, run the command again",
            )
        return path


def _foreign(path, suffix=None):
    """What a file is that is not what its name says, by its first and last bytes; None when it may be."""
    with open(path, "rb") as f:
        head = f.read(len(SIGNATURE))
    if not head:
        return "it is empty"
    kinds = {".zip": (zipfile.is_zipfile(path), "no zip archive"), ".h5": (head == SIGNATURE, "no HDF5 file")}
    right, found = kinds.get(suffix or path.suffix, (True, ""))
    return None if right else f"{path.stat().st_size} bytes, {found}"


def _tag(part):
    """Where the version of the file that a part belongs to is kept: the server's own mark for it."""
    return part.with_name(f"{part.name}.tag")


class _Busy(Exception):
    """A server that asks for a pause: what it said, and how many seconds."""


def _fetch(url, part, sure):
    """Read an address into `part`, over several connections if need be. sure: a digest will tell whether parts fit."""
    for attempt in range(ATTEMPTS):
        before, pause = _size(part), 0
        try:
            if _go_on(url, part, sure):
                return
            reason = "the connection closed"
        except _Busy as e:
            reason, asked = e.args
            pause = 2**attempt if asked is None else asked
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException) as e:
            reason = type(e).__name__  # its text may repeat the address
        if pause > PAUSE:
            raise ConnectionError(f"{public(url)}: {reason}, it asks to wait for {pause} seconds")
        begun_anew = before and not _size(part)  # what was there is of another version
        if not reason[0].isdigit() and _size(part) <= before and attempt and not begun_anew:
            break
        if attempt < ATTEMPTS - 1:
            time.sleep(pause)
    raise ConnectionError(f"{public(url)}: {reason} after {_size(part)} bytes")


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _go_on(url, part, sure):
    """One connection that adds to `part`; True when the file is whole."""
    version = _tag(part).read_text("latin-1") if _tag(part).is_file() else ""
    have = _size(part) if version or sure else 0  # else nothing tells whether two halves are of one file
    ask = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    if have and version:
        ask["If-Range"] = version
    with _answer(url, ask) as answer:
        code, headers = answer.status_code, answer.headers
        if code in BUSY:
            raise _Busy(_status(code), _seconds(headers.get("Retry-After", "")))
        if code == 416 and have:  # nothing after `have`: whole, or of another file
            whole = headers.get("Content-Range", "").endswith(f"*/{have}")
            if not whole:
                part.unlink()
            return whole
        if code not in (200, 206):
            raise ConnectionError(f"{public(url)}: {_status(code)}")
        if code == 200:
            have = 0  # the server sends all of it again
        elif not headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            return False
        if have and version and _version(headers) not in ("", version):  # it has changed, and If-Range was ignored
            part.unlink()
            return False
        if not have:
            _tag(part).write_text(_version(headers), "latin-1")
        length = headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        _keep(url, answer, part, have, total)
        return total is None or _size(part) == total


def _keep(url, answer, part, have, total):
    """Write what a connection brings behind the first `have` bytes of `part`. Raises ConnectionError when it only drips."""
    free = shutil.disk_usage(part.parent).free
    full = f"the disk of {shown(part.parent)} is full: {public(url)}"
    if total and total - have > free + (_size(part) - have):
        raise OSError(f"{full} has {total} bytes, {free} are free; make room, or link build/downloads to another disk")
    try:
        with open(part, "ab" if have else "wb") as f, bar(part.stem, total, "B", have) as progress:
            since, got = time.monotonic(), 0
            while block := answer.raw.read1(BLOCK):  # whatever has arrived, so that a drip is seen
                f.write(block)
                progress.update(len(block))
                got += len(block)
                if (passed := time.monotonic() - since) > TIMEOUT[1]:
                    if got < SLOWEST * passed:
                        raise ConnectionError(
                            f"{public(url)}: {got} bytes in {passed:.0f} seconds, too slow to wait for"
                        )
                    since, got = time.monotonic(), 0
    except OSError as e:
        if e.errno == errno.ENOSPC:
            raise OSError(f"{full}, {_size(part)} bytes of it are there; make room, {REMEDY.split(';')[0]}") from None
        raise


def _answer(url, ask):
    """The answer to a request, its body still to be read, within TIMEOUT: headers, too, may come byte by byte."""
    found = queue.SimpleQueue()

    def get():
        try:
            found.put(requests.get(url, headers=ask, stream=True, timeout=TIMEOUT))
        except Exception as e:
            found.put(e)

    threading.Thread(target=get, daemon=True).start()
    try:
        answer = found.get(timeout=sum(TIMEOUT))
    except queue.Empty:
        raise requests.Timeout from None
    if isinstance(answer, requests.RequestException):
        raise answer
    if isinstance(answer, Exception):
        raise requests.RequestException from None
    return answer


def _status(code):
    """An answer's code with its standard words; the server's own may be anything."""
    return f"{code} {http.client.responses.get(code, '')}".strip()


def _seconds(text):
    """The seconds that a Retry-After asks for, as a number or a date; None when it says neither."""
    if text.strip().isdecimal():
        return int(text)
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp() - time.time()))
    except (TypeError, ValueError, OverflowError):
        return None


def _version(headers):
    """What marks a version of a file for If-Range: a strong ETag, else the date of its last change; "" for neither."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def unpack(archive):
    """Return the folder of build/downloads that a zip was unpacked to; done once for the same bytes.

    What lies there is compared with the archive, and unpacked anew where it differs. Raises DataError, before anything is
    written, if one member would land outside, is no plain file or folder, or if all are absurdly large.
    """
    target = paths.BUILD / "downloads" / f"{archive.stem}-{sha256(archive)[:12]}"
    with alone(target.with_name(f".{target.name}.lock"), f"another process unpacks {shown(archive)}"):
        _unpack(archive, target)
    return target


def _unpack(archive, target):
    """Unpack a zip as the folder `target`, if it is not there as it should be."""
    name = shown(archive)
    try:
        with zipfile.ZipFile(archive) as z:
            if target.is_dir():
                if _as_packed(target, z):
                    return
                print(f"{shown(target)} is not what {name} holds: unpacking it anew")
                shutil.rmtree(target)
            if not z.infolist():
                raise DataError(name, "file", "an archive of nothing", "a broken download, or the wrong file")
            for member in z.infolist():
                if _escapes(member):
                    raise DataError(
                        name,
                        "file",
                        f"member {member.filename!r} leads outside",
                        "an unsafe archive: nothing was unpacked",
                    )
            size = sum(m.file_size for m in z.infolist())
            if size > LARGEST:
                raise DataError(name, "file", f"unpacks to {size} bytes, {LARGEST} are allowed", "a broken archive")
            target.parent.mkdir(parents=True, exist_ok=True)
            paths.need_room(target, size)
            with tempfile.TemporaryDirectory(dir=target.parent) as part:
                z.extractall(Path(part) / "all")
                os.replace(Path(part) / "all", target)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, zlib.error) as e:
        if paths.is_full(e):
            raise paths.disk_full(target) from e
        raise DataError(
            name, "file", str(e).replace("\n", " "), "a damaged archive: delete it and pull again"
        ) from None


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

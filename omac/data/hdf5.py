"""HDF5 files that anybody may have written: nothing outside the file is read, and no size that the file cannot hold.

Which arrays there must be, and what may stand in them, is validation.py's business.
"""

import contextlib
import hashlib
import io
import itertools
import json
import math
import os
import zlib
from pathlib import Path

import h5py
import numpy as np
import psutil

from omac.data.validation import DataError, bad_attribute
from omac.paths import shown
from omac.shapes import Array, Bool, Shaped

ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}  # any other may be code from elsewhere
RATIO = 1100  # bytes that a stored byte may stand for: deflate's best is 1032
SMALL = 1 << 20  # bytes that no machine lacks
LARGEST_CHUNK = 64 << 20  # bytes of the largest chunk
SPARSE = 100  # chunks of which one must be written: padding need not be
ATTRIBUTES, ATTRIBUTE_BYTES = 64, 1 << 20  # attributes of a file, bytes of one
SEAL = "attributes_sha256"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
DAMAGED = "a truncated or damaged file: delete it and get it again"
ELSEWHERE = "a data set is one file: write the arrays themselves into it"


@contextlib.contextmanager
def translated(name, field, cause=DAMAGED):
    """Turn what HDF5 and NumPy raise while a file is read into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as e:
        raise DataError(name, field, f"too little memory: {e}", "a small machine, or damaged sizes") from None
    except ERRORS as e:
        raise DataError(name, field, str(e) or type(e).__name__, cause) from None


@contextlib.contextmanager
def created(path, sealed=True):
    """Yield a new file to write into; its bytes go to `path` at the end. sealed: with the digest of its attributes.

    HDF5 writes to memory, and Python to the disk: HDF5 does not survive a full one. It repeats its errors in many lines and
    crashes when the process ends.
    """
    content = io.BytesIO()
    with h5py.File(content, "w", libver=("v110", "v110")) as f:
        yield f
        if sealed:
            seal_attributes(f)
    Path(path).write_bytes(content.getbuffer())


def opened(path, cause=DAMAGED):
    """Open a file for reading. Raises DataError, with that cause, when it is not there, damaged or no HDF5 file."""
    name = shown(path)
    if not Path(path).is_file():
        found = "is a folder" if Path(path).exists() else "does not exist"
        raise DataError(name, "file", found, "a misspelt path")
    with translated(name, "file", cause):
        with open(path, "rb") as f:
            head = f.read(len(SIGNATURE))
        if head != SIGNATURE:
            raise DataError(name, "file", f"begins with {head!r}", f"it is not an HDF5 file, or {cause}")
        return h5py.File(path, "r")


def arrays(f, keys, cause, whole=True):
    """Look at the data sets of an open file without reading them; a dict of h5py.Dataset.

    Args:
        f: the open h5py.File.
        keys: names that must be there.
        cause: what it means when one is not.
        whole: every chunk must have been written.
    Raises:
        DataError: one is missing, leads outside the file, holds no numbers, or declares more than the file can hold.
    """
    name, size = shown(f.filename), os.path.getsize(f.filename)
    found = {}
    for key in keys:
        with translated(name, key):
            found[key] = _dataset(f, key, name, cause)
            if problem := _outside(found[key]) or _too_large(found[key], size, whole):
                raise DataError(name, key, *problem)
    return found


def read_array(x, where=(), cause: str = DAMAGED) -> Shaped[Array, "..."]:
    """Read a data set that `arrays` gave, or the part `where` of it. Raises DataError for damaged bytes or too little memory."""
    name, key = shown(x.file.filename), x.name.strip("/")
    with translated(name, key, cause):
        shape = x.shape if where == () else (len(range(*where.indices(len(x)))), *x.shape[1:])
        size, free = math.prod(shape) * x.dtype.itemsize, psutil.virtual_memory().available
        if size > max(free, SMALL):
            raise DataError(
                name, key, f"{size} bytes, {free} bytes of memory are free", "a small machine, or damaged sizes"
            )
        return x[where]


def attributes(f):
    """Read the attributes of an open file, each a JSON text; {name: value}. Raises DataError for any other."""
    name, found = shown(f.filename), {}
    with translated(name, "file"):
        if len(f.attrs) > ATTRIBUTES:
            raise DataError(name, "file", f"{len(f.attrs)} attributes", DAMAGED)
        keys = list(f.attrs)
    for key in keys:
        found[key] = attribute(f, key)
    if SEAL in found and found.pop(SEAL) != _seal(found):
        changed = "file", "its attributes are not those that were written", DAMAGED
        raise DataError(name, *(bad_attribute(found) or changed))  # the more telling of the two
    return found


def attribute(f, key, most=ATTRIBUTE_BYTES):
    """Read one attribute of an open file, a JSON text of at most so many bytes. Raises DataError for any other, or for none."""
    with translated(shown(f.filename), f"file: attribute {key}"):
        kind = f.attrs.get_id(key)
        if kind.shape != () or h5py.check_string_dtype(kind.dtype) is None or kind.get_storage_size() > most:
            raise TypeError(f"{kind.dtype} {kind.shape} where a JSON text is expected")
        return json.loads(f.attrs[key])


def seal_attributes(f):
    """Write the digest of all attributes beside them: HDF5 keeps a checksum of arrays, but none of texts."""
    f.attrs[SEAL] = json.dumps(_seal({k: json.loads(v) for k, v in f.attrs.items() if k != SEAL}))


def _seal(about):
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _dataset(f, key, name, cause):
    link = f.get(key, getlink=True)  # before f[key], which would follow it
    if link is not None and not isinstance(link, h5py.HardLink):
        raise DataError(name, key, f"is a {type(link).__name__}, not an array", ELSEWHERE)
    x = f[key] if link is not None else None
    if not isinstance(x, h5py.Dataset):
        there = sorted(f)
        raise DataError(name, key, f"not in the file, which has {there[:20]}", cause)
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8 or x.shape is None:
        raise DataError(name, key, f"{x.dtype} {x.shape}", "numbers of at most 64 bits are expected: another layout")
    return x


def _filters(x):
    plan = x.id.get_create_plist()
    return [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]


def _outside(x):
    """What of a data set lies outside its file, or takes code that is not here: (found, cause), or None."""
    plan = x.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        return "its bytes lie in another file", ELSEWHERE
    unknown = [f for f in _filters(x) if f not in FILTERS]
    if unknown:
        return f"filter {unknown[0]}", f"compressed otherwise than by {', '.join(FILTERS.values())}: write it with gzip"
    return None


def _too_large(x, size, whole):
    """What a data set declares and a file of `size` bytes does not hold: (found, cause), or None."""
    declared, stored = math.prod(x.shape) * x.dtype.itemsize, x.id.get_storage_size()
    layout = x.id.get_create_plist().get_layout()
    if declared and not stored:
        return f"{x.shape} is declared, nothing of it is written", "it was never written, or its sizes are damaged"
    if declared > RATIO * stored + SMALL or stored > size:
        return f"declares {declared} bytes, {stored} are stored, the file has {size}", f"damaged sizes, {DAMAGED}"
    if layout == h5py.h5d.CONTIGUOUS and declared and x.id.get_offset() + stored > size:
        return f"{stored} bytes from {x.id.get_offset()} on, the file has {size}", DAMAGED
    return _bad_chunks(x, declared, size, whole) if layout == h5py.h5d.CHUNKED else None


def _bad_chunks(x, declared, size, whole):
    """The same for the chunks of a data set, each of which is unpacked in memory."""
    chunk = math.prod(x.chunks) * x.dtype.itemsize
    if chunk > max(LARGEST_CHUNK, declared):
        return f"chunks of {chunk} bytes", f"damaged sizes, {DAMAGED}"
    parts, old = _chunks(x), x.file.id.get_create_plist().get_version()[0] < 2
    for p in parts:
        if p.byte_offset + p.size > size or p.size > chunk + chunk // 8 + 4096:
            return f"a chunk of {p.size} bytes from {p.byte_offset} on, the file has {size}", DAMAGED
        if old and len(x.id.read_direct_chunk(p.chunk_offset)[1]) != p.size:  # an index without a checksum
            return f"the chunk at {p.chunk_offset} is not where its index says", DAMAGED
        if p.size > SMALL and _bursts(x, p, chunk):
            return f"a chunk that unpacks to more than {chunk} bytes", DAMAGED
    expected = math.prod(-(-n // c) for n, c in zip(x.shape, x.chunks, strict=True))
    if whole and len(parts) != expected:
        return f"{len(parts)} of {expected} chunks are written", "an array that was not written to its end"
    if expected > SPARSE * len(parts) + 10_000:
        return f"{len(parts)} of {expected} chunks are written", "damaged sizes, or hardly anything was written"
    return None


def _chunks(x):
    parts = []
    x.id.chunk_iter(parts.append)
    return parts


def unwritten(x) -> Bool[Array, "i j"]:
    """Say which [i, j] of the first two axes of a data set lie in a chunk that was never written, bool; HDF5 reads zeros there."""
    missing = np.zeros(x.shape[:2], bool)
    if x.chunks is None:
        return missing
    there = {p.chunk_offset for p in _chunks(x)}
    for at in itertools.product(*(range(0, n, c) for n, c in zip(x.shape, x.chunks, strict=True))):
        if at not in there:
            missing[tuple(slice(a, a + c) for a, c in zip(at[:2], x.chunks[:2], strict=True))] = True
    return missing


def _bursts(x, part, chunk):
    """Whether a deflated chunk unpacks to more than its size. HDF5 finds out too, but only once all of it is in memory."""
    if part.filter_mask or _filters(x)[-1:] != [1]:
        return False
    raw = x.id.read_direct_chunk(part.chunk_offset)[1]
    return len(zlib.decompressobj().decompress(raw, chunk + 1)) > chunk

"""Files made to harm: each is read in a process of its own, which must end in one line and neither crash nor fill the memory."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import torch
from test_sources import MADT, as_madt, as_pymarl, as_vault, fabricated, record

from omac.paths import ROOT

pytestmark = pytest.mark.slow

SERVER = """
import faulthandler, os, resource, signal, sys
from pathlib import Path
from omac import paths
from omac.data.episodes import Episodes
from omac.datasets.loaders import madt_pickle, pymarl, vault
from omac.study.prepare import pull

def read(source, name, folder):
    os.environ["OMAC_MIRROR"], paths.BUILD = f"{folder}/mirror", Path(folder) / "build"
    try:
        if source == "check":
            Episodes.load(Path(name))
        else:
            pull(source, name, "good", None, None, Path(folder))
    except (ValueError, OSError, RuntimeError) as e:
        return f"refused: {e}"
    return "accepted"

faulthandler.enable()
for line in sys.stdin:
    if not (child := os.fork()):
        signal.alarm(100)
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        print(read(*line.rstrip("\\n").split("\\t")), flush=True)
        os._exit(0)
    print("end", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def server():
    """A process that has all imported, and forks for every file that it is told of."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-c", SERVER]
    process = subprocess.Popen(
        call, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    yield process
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


@pytest.fixture
def read(server, tmp_path):
    """What a process of its own says of a data set in tmp_path/mirror, or of a file where the source is "check"."""

    def ask(source, name):
        print(source, name, tmp_path, sep="\t", file=server.stdin, flush=True)
        lines = []
        while not (line := server.stdout.readline()).startswith("end "):
            assert line, "the server itself has died"
            lines.append(line)
        assert line == "end 0\n", f"the reader ended with {line[4:]}"
        *noise, said = lines
        assert not [x for x in noise if "nobody published" not in x]
        return said.strip()

    return ask


# --- pickles


class Call:
    """A call that a pickle makes when it is loaded, and the state that it gives to what comes of it."""

    def __init__(self, what, *words, state=None):
        self.told = (what, words) if state is None else (what, words, state)

    def __reduce__(self):
        return self.told


def dumped(x, protocol=2):
    return pickle.dumps([[[x]]], protocol)


def zipped(data, name="archive/data.pkl", **how):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **how) as z:
        z.writestr(name, data)
    return stream.getvalue()


def saved(x):
    stream = io.BytesIO()
    torch.save(x, stream)
    return stream.getvalue()


def laughs(depth=30):
    """A list of two lists that are the same one, of two that are the same one, and so on: 2**depth numbers."""
    x = [1.0, 1.0]
    for _ in range(depth):
        x = [x, x]
    return pickle.dumps([[[x] * 6]], 2)


def shared(steps=200_000, width=200_000):
    """Many steps that are one step: more numbers than any memory holds, in a megabyte."""
    g = [0] * width
    return pickle.dumps([[[g, g, [1], [1.0], [True], [1]]] * steps] * 5, 2)


EMPTY = np._core.multiarray._reconstruct
SCALAR = np._core.multiarray.scalar
HUGE = 2**40
PICKLES = {
    "objects over its own bytes": lambda: saved([[[Call(np.ndarray, 1, "O", b"A" * 8)]]]),
    "a field of objects": lambda: saved([[[Call(np.ndarray, 1, [("x", "O")], b"A" * 8)]]]),
    "an array of any size": lambda: dumped(Call(np.ndarray, (HUGE,))),
    "an array that is begun large": lambda: dumped(Call(EMPTY, np.ndarray, (HUGE,), b"b")),
    "an array begun as another type": lambda: dumped(Call(EMPTY, bytearray, (0,), b"b")),
    "an array of objects, by its state": lambda: dumped(np.array([{}, print], object)),
    "an array larger than its bytes": lambda: dumped(
        Call(EMPTY, np.ndarray, (0,), b"b", state=(1, (HUGE,), np.dtype("f8"), False, b"x" * 8))
    ),
    "a scalar of objects": lambda: dumped(Call(SCALAR, np.dtype("O"), b"A" * 8)),
    "a dtype of structures": lambda: dumped(np.zeros(2, [("x", "f8")])),
    "complex numbers": lambda: dumped(np.zeros(3, complex)),
    "texts": lambda: dumped(np.array(["a", "b"])),
    "a program": lambda: dumped(Call(os.system, "true")),
    "eval": lambda: dumped(Call(eval, "1")),
    "an attribute": lambda: dumped(Call(getattr, "a", "upper")),
    "a torch tensor": lambda: saved([[[torch.zeros(3)]]]),
    "a state for a function": lambda: b"\x80\x02cnumpy\nndarray\nN}X\x01\x00\x00\x00xK\x01s\x86b.",
    "a state for a list": lambda: b"\x80\x02]}X\x01\x00\x00\x00xK\x01sb.",
    "a remembered place of four billion": lambda: b"\x80\x02]r\xff\xff\xff\xff.",
    "a text of a quintillion letters": lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"x.",
    "bytes of a quintillion": lambda: b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b"x.",
    "a frame of a quintillion": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"].",
    "a number of a million digits": lambda: b"\x80\x02\x8b" + struct.pack("<i", 500_000) + b"\x7f" * 500_000 + b".",
    "lists a million deep": lambda: b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "tuples a million deep": lambda: b"\x80\x02N" + b"\x85" * 1_000_000 + b".",
    "marks a million deep": lambda: b"\x80\x02" + b"(" * 1_000_000 + b".",
    "a list in itself": lambda: b"\x80\x02]q\x00h\x00a.",
    "a list of lists of the same list": laughs,
    "one step many times": shared,
    "an object of a class": lambda: b"\x80\x02(ios\nsystem\n.",
    "a registered extension": lambda: b"\x80\x02\x82\x01.",
    "a persistent thing": lambda: b"\x80\x02X\x01\x00\x00\x00xQ.",
    "a bomb in a zip archive": lambda: zipped(bytes(1 << 27), compression=zipfile.ZIP_DEFLATED),
    "two pickles in a zip archive": lambda: zipped(b"\x80\x02].", "a/data.pkl") + zipped(b"", "b/x"),
    "no end": lambda: b"\x80\x02]q\x00(",
    "bytes after its end": lambda: b"\x80\x02]q\x00.hello",
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_of_more_than_numbers_is_refused_in_one_line(name, read, tmp_path):
    file = tmp_path / "mirror" / "madt" / "5m_vs_6m" / "good" / "0"
    file.parent.mkdir(parents=True)
    file.write_bytes(PICKLES[name]())
    said = read("madt", "5m_vs_6m")
    assert said.startswith("refused:") and "memory" not in said and len(said) < 1_000


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_of_numbers_is_read_whatever_its_protocol(protocol, read, tmp_path):
    file = tmp_path / "mirror" / "madt" / "5m_vs_6m" / "good" / "0"
    for i, kind in enumerate(("list", "array")):
        as_madt(file.with_name(str(i)), record("won", i, **MADT), kind)
        agents = torch.load(file.with_name(str(i)), weights_only=False)
        file.with_name(str(i)).write_bytes(pickle.dumps(agents, protocol))
    assert read("madt", "5m_vs_6m") == "accepted"


# --- HDF5


def outside(how):
    """Move the bytes of obs into another file."""

    def change(f):
        x, folder = f["obs"][()], os.path.dirname(f.filename)
        del f["obs"]
        with h5py.File(f"{folder}/private.hdf5", "w") as other:
            other["obs"] = x
        x.tofile(f"{folder}/private.bin")
        if how == "storage":
            f.create_dataset("obs", x.shape, x.dtype, external=[(f"{folder}/private.bin", 0, x.nbytes)])
        elif how == "link":
            f["obs"] = h5py.ExternalLink(f"{folder}/private.hdf5", "obs")
        elif how == "soft link":
            f["there"] = h5py.ExternalLink(f"{folder}/private.hdf5", "/")
            f["obs"] = h5py.SoftLink("/there/obs")
        else:
            layout = h5py.VirtualLayout(x.shape, x.dtype)
            layout[...] = h5py.VirtualSource(f"{folder}/private.hdf5", "obs", x.shape)
            f.create_virtual_dataset("obs", layout)

    return change


def instead(key="obs", **how):
    """Another data set, of which nothing is written, in the place of one."""

    def change(f):
        about = {"shape": f[key].shape, "dtype": f[key].dtype, **how}
        del f[key]
        f.create_dataset(key, **about)

    return change


def contiguous(f):
    """An array that says that it lies in the file, and whose sizes are written over with others."""
    path, shape, kind = f.filename, (4, 7919, 3), f["obs"].dtype
    del f["obs"]
    f["obs"] = np.zeros(shape, kind)
    f.close()
    with open(path, "rb") as x:
        whole = x.read()
    size = int(np.prod(shape)) * kind.itemsize
    for old, new in ((7919, 7919 << 32), (size, size << 32)):
        assert struct.pack("<Q", old) in whole
        whole = whole.replace(struct.pack("<Q", old), struct.pack("<Q", new))
    with open(path, "wb") as x:
        x.write(whole)


def wide(f):
    """A chunk far larger than the array."""
    shape = f["obs"].shape
    rows = (1 << 27) // int(np.prod(shape[1:]))
    instead(chunks=(rows, *shape[1:]), maxshape=(None, *shape[1:]), compression="gzip")(f)
    f["obs"].id.write_direct_chunk((0,) * len(shape), zlib.compress(b"x"))


def bomb(f):
    """A chunk that is small in the file, and unpacks to half a gigabyte."""
    shape, chunk = f["obs"].shape, (32, *f["obs"].shape[1:])
    del f["obs"]
    x = f.create_dataset("obs", shape, "f4", chunks=chunk, maxshape=(None, *shape[1:]), compression="gzip")
    x.id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(1 << 29), 1))


def attribute(value):
    return lambda f: f.attrs.__setitem__("policies", value)


def many(f):
    for i in range(1000):
        f.attrs[f"a{i}"] = "1"


def replaced(key, value):
    def change(f):
        del f[key]
        f[key] = value

    return change


def removed(key):
    return lambda f: (f.__delitem__(key), f.create_group(key))


HDF5 = {
    "external storage": outside("storage"),
    "an external link": outside("link"),
    "a soft link to an external one": outside("soft link"),
    "a virtual data set": outside("virtual"),
    "never written": instead(),
    "sizes of petabytes": instead(shape=(2**46, 3, 30), chunks=(64, 3, 30)),
    "sizes of petabytes, contiguous": contiguous,
    "chunks of gigabytes": wide,
    "a chunk that unpacks to gigabytes": bomb,
    "texts": replaced("obs", ["a", "b"]),
    "lists of any length": instead(dtype=h5py.vlen_dtype(np.float32)),
    "structures": instead(dtype=[("x", "f4"), ("y", "f8")]),
    "references": instead(dtype=h5py.ref_dtype),
    "complex numbers": instead(dtype="c8"),
    "no numbers at all": replaced("obs", h5py.Empty("f4")),
    "one number": replaced("obs", 1.0),
    "a group": removed("obs"),
}
ATTRIBUTES = {
    "an array of numbers": attribute(np.zeros(100)),
    "an array of texts": attribute(["a"] * 1000),
    "a deep text": attribute("[" * 100_000),
    "a long number": attribute("1" * 100_000),
    "a reference": attribute(h5py.Empty("f4")),
    "a thousand of them": many,
    "no text": attribute(b"\xff\xfe"),
}


@pytest.mark.parametrize("layout", ["own", "PyMARL"])
@pytest.mark.parametrize("name", HDF5)
def test_an_hdf5_file_that_leads_outside_or_declares_too_much_is_refused(name, layout, toy, read, tmp_path):
    if layout == "own":
        file, call = tmp_path / "mirror" / "a.h5", ("check", tmp_path / "mirror" / "a.h5")
        toy.save(file)
    else:
        file, call = tmp_path / "mirror" / "cfcql" / "3m" / "good" / "a.h5", ("cfcql", "3m")
        as_pymarl(file, fabricated())
    assert read(*call) == "accepted"
    with h5py.File(file, "r+") as f:
        HDF5[name](f)
    said = read(*call)
    assert said.startswith("refused:") and "memory" not in said and len(said) < 1_000
    assert "obs" in said or "metadata checksum" in said


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_are_no_texts_of_json_are_refused(name, toy, read, tmp_path):
    file = tmp_path / "a.h5"
    toy.save(file)
    with h5py.File(file, "r+") as f:
        ATTRIBUTES[name](f)
    said = read("check", file)
    assert said.startswith("refused:") and "attribute" in said and len(said) < 1_000


# --- Vaults


def zarr(change):
    """Rewrite one array of a Vault; `change` gives its metadata other values."""

    def spoil(folder):
        ts = pytest.importorskip("tensorstore", reason="tensorstore is not installed")
        base = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}
        key, meta = change(dict)
        spec = {"driver": "zarr", "kvstore": {**base, "path": key}, "metadata": meta}
        ts.open(spec, create=True, delete_existing=True).result()

    return spoil


VAULTS = {
    "an index of petabytes": lambda d: ("vault_index", d(shape=[1], dtype="<i8", chunks=[1], fill_value=2**50)),
    "a negative index": lambda d: ("vault_index", d(shape=[1], dtype="<i4", chunks=[1], fill_value=-1)),
    "an index that is no whole number": lambda d: (
        "vault_index",
        d(shape=[1], dtype="<f4", chunks=[1], fill_value=5.5),
    ),
    "many indices": lambda d: ("vault_index", d(shape=[5], dtype="<i4", chunks=[5], fill_value=3)),
    "observations of petabytes": lambda d: (
        "observations.",
        d(shape=[1, 2**30, 3, 2**20], dtype="<f4", chunks=[1, 8, 3, 30]),
    ),
    "chunks of terabytes": lambda d: (
        "observations.",
        d(shape=[1, 2**20, 3, 30], dtype="<f4", chunks=[1, 2**32, 3, 30]),
    ),
    "complex rewards": lambda d: ("rewards.", d(shape=[1, 200, 3], dtype="<c8", chunks=[1, 200, 3])),
    "structures": lambda d: ("rewards.", d(shape=[1, 200, 3], dtype=[["x", "<f4"]], chunks=[1, 200, 3])),
    "rewards without agents": lambda d: ("rewards.", d(shape=[1, 200], dtype="<f4", chunks=[1, 200])),
    "rewards never written": lambda d: ("rewards.", d(shape=[1, 200, 3], dtype="<f4", chunks=[1, 200, 3])),
    "actions never written": lambda d: ("actions.", d(shape=[1, 200, 3], dtype="<i4", chunks=[1, 200, 3])),
    "legal actions never written": lambda d: (
        "infos.legals.",
        d(shape=[1, 200, 3, 9], dtype="<f4", chunks=[1, 200, 3, 9]),
    ),
    "states never written": lambda d: ("infos.state.", d(shape=[1, 200, 48], dtype="<f4", chunks=[1, 200, 48])),
}


@pytest.mark.parametrize("name", VAULTS)
def test_a_vault_of_other_arrays_than_it_should_have_is_refused(name, read, tmp_path):
    as_vault(tmp_path / "zip" / "3m.vlt", fabricated())
    zarr(VAULTS[name])(tmp_path / "zip" / "3m.vlt" / "Good")
    (tmp_path / "mirror" / "ogmarl").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "mirror" / "ogmarl" / "3m.zip", "w") as z:
        for path in sorted(p for p in (tmp_path / "zip").rglob("*") if p.is_file()):
            z.write(path, path.relative_to(tmp_path / "zip"))
    said = read("ogmarl", "3m")
    assert said.startswith("refused:") and "memory." not in said and len(said) < 1_500

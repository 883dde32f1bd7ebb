"""Pickles of numbers alone: read by a machine that knows lists, numbers and NumPy's arrays of them, and calls nothing else.

Python's own reader calls whatever a pickle names; the safe one of torch trusts its storages' sizes. This one makes nothing
that is larger than the bytes that are there.
"""

import io
import math
import pickletools
import re
import reprlib
import zipfile
import zlib

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # what torch.save wrote in front before it wrote zip archives
LARGEST = 1 << 27  # bytes of one pickle: a battle of 400 steps has some twenty million
DEEP, WIDE = 32, 1 << 20  # marks open at a time; values that wait at a time
KIND = re.compile(r"b1|[iu][1248]|f[248]")
PLAIN = (  # operations that put their argument on the stack
    *("BINFLOAT", "FLOAT", "BININT", "BININT1", "BININT2", "INT", "LONG1", "LONG"),
    *("BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
CODE = "such code is never run here"
NUMPY = ("numpy.core", "numpy._core")  # its old name and its new one
CALLS = {  # what a pickle may name, by what it does
    ("_codecs", "encode"): "bytes",
    ("numpy", "dtype"): "kind",
    ("numpy", "ndarray"): "array type",
    **{(f"{core}.multiarray", "_reconstruct"): "empty" for core in NUMPY},
    **{(f"{core}.multiarray", "scalar"): "scalar" for core in NUMPY},
    **{(f"{core}.numeric", "_frombuffer"): "buffer" for core in NUMPY},
}


class Refused(ValueError):
    """A pickle of more than numbers, or a damaged one; one line."""


class _Call:
    """A name that a pickle may call."""

    def __init__(self, what):
        self.what = what


class _Begun:
    """A dtype or an array whose second half, its state, is still to come; `keys` is where it was remembered until then."""

    def __init__(self, kind=None):
        self.kind, self.keys = kind, []


def load(path):
    """Read one pickle, by itself or as torch.save wrapped it: lists, tuples, numbers, texts and NumPy arrays of numbers.

    Raises:
        Refused: it names anything else, is damaged, or larger than it may be.
        OSError: the file cannot be read.
    """
    if path.stat().st_size > LARGEST:
        raise Refused(f"{path.stat().st_size} bytes, at most {LARGEST} are read")
    raw = _unzipped(path) if zipfile.is_zipfile(path) else path.read_bytes()
    stream = io.BytesIO(raw)
    found = _object(stream)
    if type(found) is int and found == MAGIC:
        if _object(stream) != VERSION:
            raise Refused("a version of torch's format that is not known")
        _object(stream)  # what machine it was written on
        found, keys = _object(stream), _object(stream)
        if keys != []:
            raise Refused("a torch tensor: save lists or NumPy arrays")
    if stream.tell() != len(raw):
        raise Refused(f"{len(raw) - stream.tell()} bytes after its end")
    return found


def _unzipped(path):
    """The one pickle of an archive that torch.save wrote, its checksum held."""
    try:
        with zipfile.ZipFile(path) as z:
            names = [m for m in z.infolist() if m.filename.endswith("/data.pkl")]
            if len(names) != 1:
                raise Refused("an archive without one data.pkl: not torch's")
            if names[0].file_size > min(LARGEST, 1100 * path.stat().st_size):
                raise Refused(f"unpacks to {names[0].file_size} bytes")
            return z.read(names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise Refused(str(e)) from None


def _object(stream):
    """The next object of a stream of pickles."""
    try:
        return _run(pickletools.genops(stream))
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as e:
        raise Refused(f"damaged: {type(e).__name__}: {str(e)[:100]}") from None


class _Machine:
    """What a pickle works on: a stack, the stacks that wait below its marks, and what it has remembered."""

    def __init__(self):
        self.stack, self.marks, self.memo = [], [], {}

    def push(self, value):
        self.stack.append(value)

    def remember(self, key):
        self.memo[key] = self.stack[-1]
        if isinstance(self.stack[-1], _Begun):
            self.stack[-1].keys.append(key)

    def mark(self):
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self):
        items, self.stack = self.stack, self.marks.pop()
        return items

    def last(self, count):
        """Return the last values of the stack, which leave it."""
        items = self.stack[-count:]
        if len(items) < count:
            raise Refused("damaged: a value is missing")
        del self.stack[-count:]
        return items

    def extend(self, items):
        _of(list, self.stack).extend(items)

    def update(self, items):
        _of(dict, self.stack).update(_pairs(items))

    def finish(self):
        begun, state = self.last(2)
        made = _finished(begun, state)
        self.stack.append(made)
        self.memo.update(dict.fromkeys(begun.keys, made))


ACTS = {  # what each operation does to a machine, given its argument
    **dict.fromkeys(PLAIN, _Machine.push),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "NONE": lambda m, _: m.push(None),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "PUT"), _Machine.remember),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    **dict.fromkeys(("BINGET", "LONG_BINGET", "GET"), lambda m, key: m.push(m.memo[key])),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "MARK": lambda m, _: m.mark(),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "DICT": lambda m, _: m.push(_pairs(m.since_mark())),
    **{f"TUPLE{n}": lambda m, _, n=n: m.push(tuple(m.last(n))) for n in (1, 2, 3)},
    "APPEND": lambda m, _: m.extend(m.last(1)),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.update(m.last(2)),
    "SETITEMS": lambda m, _: m.update(m.since_mark()),
    "GLOBAL": lambda m, words: m.push(_named(*words.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.push(_named(*m.last(2))),
    "REDUCE": lambda m, _: m.push(_called(*m.last(2))),
    "BUILD": lambda m, _: m.finish(),
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: None),
}


def _run(operations):
    """Run the operations of one pickle, each a word, its argument and its place."""
    machine = _Machine()
    for operation, value, place in operations:
        if operation.name == "STOP":
            if len(machine.stack) != 1 or machine.marks:
                raise Refused("damaged: values are left over at its end")
            return machine.stack[0]
        if operation.name not in ACTS:
            raise Refused(f"{operation.name} at {place}: {CODE}")
        ACTS[operation.name](machine, value)
        if len(machine.marks) > DEEP or len(machine.stack) > WIDE:
            raise Refused(f"nested beyond {DEEP} deep or {WIDE} wide")
    raise Refused("damaged: it has no end")


def _pairs(items):
    return dict(zip(map(_key, items[::2]), items[1::2], strict=True))


def _of(kind, stack):
    if type(stack[-1]) is not kind:
        raise Refused(f"damaged: a {type(stack[-1]).__name__} where a {kind.__name__} is")
    return stack[-1]


def _key(value):
    if type(value) is not str:
        raise Refused(f"a {type(value).__name__} as a name")
    return value


def _named(module, word):
    if (module, word) not in CALLS:
        raise Refused(f"GLOBAL {module}.{word}: {CODE}")
    return _Call(CALLS[module, word])


def _called(call, arguments):
    """What a call of one of CALLS makes. Every argument is looked at first."""
    if not isinstance(call, _Call) or type(arguments) is not tuple:
        raise Refused(f"a {type(call).__name__} is called: {CODE}")
    if call.what == "bytes":
        text, coding = arguments
        if type(text) is not str or coding != "latin1":
            raise Refused(f"bytes in the coding {reprlib.repr(coding)}")
        return text.encode("latin1")
    if call.what == "kind":
        if type(arguments[0]) is not str or not KIND.fullmatch(arguments[0]):
            raise Refused(f"numpy.dtype of {reprlib.repr(arguments[0])}: numbers alone are read")
        return _Begun(np.dtype(arguments[0]))
    if call.what == "empty":
        kind, shape, code = arguments
        if not (isinstance(kind, _Call) and kind.what == "array type" and shape == (0,) and code in (b"b", "b")):
            raise Refused(f"an array that is begun otherwise than NumPy does: {CODE}")
        return _Begun()
    if call.what == "scalar":
        kind, raw = arguments
        return _array((), kind, False, raw).item()
    if call.what == "buffer":
        raw, kind, shape, order = arguments
        return _array(shape, kind, order == "F", raw)
    raise Refused(f"numpy.ndarray is called: {CODE}")


def _finished(begun, state):
    """A dtype or an array from its two halves."""
    if not isinstance(begun, _Begun):
        raise Refused(f"a {type(begun).__name__} is given a state: {CODE}")
    if begun.kind is None:
        _, shape, kind, fortran, raw = state
        return _array(shape, kind, fortran, raw)
    version, order, *rest = state
    if type(version) is not int or order not in ("<", ">", "|", "=") or rest[:3] != [None] * 3:
        raise Refused(f"numpy.dtype with the state {reprlib.repr(state)}: numbers alone are read")
    return begun.kind.newbyteorder(order)


def _array(shape, kind, fortran, raw):
    """An array over bytes that are there, all of them."""
    raw = raw.encode("latin1") if type(raw) is str else raw  # as Python 2 wrote it
    sound = type(shape) is tuple and len(shape) <= 3 and all(type(n) is int and n >= 0 for n in shape)
    if not (sound and isinstance(kind, np.dtype) and type(raw) in (bytes, bytearray)):
        found = ", ".join(map(reprlib.repr, (shape, kind, type(raw).__name__)))
        raise Refused(f"an array of {found}: {CODE}")
    if math.prod(shape) * kind.itemsize != len(raw):
        raise Refused(f"an array of {shape}, {kind}, in {len(raw)} bytes")
    return np.frombuffer(bytes(raw), kind).reshape(shape, order="F" if fortran else "C")

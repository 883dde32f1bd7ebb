"""Where things lie, as absolute paths, for papermill, nbval, DVC and JupyterLab each run code from a different folder; and how files are written: whole or not at all."""

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
import tomllib
from pathlib import Path

PROJECT = "omac"  # this project's name in its pyproject.toml
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
FULL_IN_WORDS = ("No space left on device", "not enough space on the disk", "quota exceeded", "unexpected pos")  # torch
HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}  # of a lock; others: no locks there
NO_FILES = {stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
WAIT = 2  # seconds between two tries to get at what another process works on


class DiskFull(OSError):
    """A disk, or what a user may take of it, is full."""


def is_checkout(folder):
    """Say whether a folder is a checkout of this project: it has a dvc.yaml, and a pyproject.toml with this project's name."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project")
    except (OSError, ValueError):
        return False
    return isinstance(project, dict) and project.get("name") == PROJECT and (folder / "dvc.yaml").is_file()


def find_root(start=None):
    """Find the checkout that a folder belongs to: itself, the nearest parent, or the installed package's own folder.

    Args:
        start: folder to search from. Default: the current one.
    Raises:
        FileNotFoundError: none of them is a checkout of this project.
    """
    here, package = Path(start or Path.cwd()).resolve(), Path(__file__).resolve().parents[1]
    for folder in (here, *here.parents, package):
        if is_checkout(folder):
            return folder
    raise FileNotFoundError(
        f"neither {here}, nor a folder above it, nor {package} is a checkout of this project (a dvc.yaml, and a "
        f"pyproject.toml with the name {PROJECT}): run this inside one"
    )


ROOT = find_root()
RAW = ROOT / "data" / "raw"
EPISODES = ROOT / "data" / "episodes"
BEHAVIOUR = ROOT / "data" / "behaviour"
BUILD = ROOT / "build"
FIGURES = ROOT / os.environ.get(
    "OMAC_FIGURES", "build/figures"
)  # the pipeline alone sets it to figures/, which is in git


def project_version():
    """Read the project's version from its pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("version", "unknown")


def shown(path):
    """Return a path as messages and notebooks print it: relative to the checkout where it lies inside."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def is_full(error):
    """Say whether an error, or one that it came from, says that a disk is full: as Python, HDF5, safetensors or torch put it."""
    while error is not None:
        if (
            isinstance(error, DiskFull)
            or getattr(error, "errno", None) in FULL
            or any(words in str(error) for words in FULL_IN_WORDS)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def disk_full(path, size=None):
    """Make the error that says, in one line with the remedy, that there is no room for the file at `path`, of `size` bytes."""
    folder = Path(path).parent
    free = f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB free"
    needed = "" if size is None else f", {size / 2**20:.1f} needed"
    return DiskFull(
        f"{shown(path)} cannot be written: the disk of {shown(folder)} is full ({free}{needed}): "
        "make room there, then run the same command again"
    )


def need_room(path, size):
    """Raise DiskFull where the disk of the file at `path` has not `size` bytes left. Its folder must be there."""
    if shutil.disk_usage(Path(path).parent).free < size:
        raise disk_full(path, size)


def need_file(path):
    """Raise OSError, in one line, where a file is to be read or written and a device, a pipe or a socket is there.

    What is read from them need not end, and writing would put a file in their place. A folder, and nothing at all, are named
    by whoever opens them.
    """
    try:
        kind = NO_FILES.get(stat.S_IFMT(os.stat(path).st_mode))
    except OSError:
        return
    if kind:
        raise OSError(f"{shown(path)} is {kind}; a file is needed")


def need_place(path, ending=""):
    """Raise OSError, in one line, where no file can be written: before the work whose result it holds.

    Args:
        path: of the file.
        ending: what its name must end in.
    """
    path = Path(path)
    need_file(path)
    if path.is_dir():
        raise OSError(f"{shown(path)} is a folder; name the file to write")
    if not path.name.endswith(ending):
        raise OSError(f"{shown(path)}: the name of the file to write must end in {ending}")
    need_folder(path.absolute().parent)


def need_folder(path):
    """Raise OSError, in one line, where there can be no folder to write into."""
    path = Path(path).absolute()
    above = next(folder for folder in (path, *path.parents) if folder.exists())
    if not above.is_dir():
        raise OSError(f"{shown(above)} is a file; a folder is needed")
    if not os.access(above, os.W_OK):
        raise OSError(f"{shown(above)}: nothing may be written into this folder")


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; rename it into place on success, remove it on failure.

    Its name is this writer's alone, also among machines that share the folder. Raises DiskFull where there is no room, OSError
    where the path is no file's.
    """
    path = Path(path)
    need_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(8)}.part")
    try:
        yield part
        os.replace(part, path)
    except Exception as e:
        if is_full(e) and not isinstance(e, DiskFull):
            raise disk_full(path) from e
        raise
    finally:
        with contextlib.suppress(OSError):  # Windows removes no file that is still open
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(lock, what):
    """Wait, saying so once, until no other process holds a lock file; and keep others waiting inside.

    A process that ends, however, holds it no longer. Where the disk knows no locks, nothing is waited for.

    Args:
        lock: path of the lock file, which stays. Processes that share a folder, in containers too, meet in it.
        what: what another process does meanwhile, for the message.
    """
    from zc.lockfile import LockError, LockFile

    lock.parent.mkdir(parents=True, exist_ok=True)
    told, held = False, None
    while held is None:
        try:
            held = LockFile(str(lock), "PID {pid} on {hostname}")
        except LockError as e:
            if getattr(e.__context__, "errno", errno.EAGAIN) not in HELD_BY_ANOTHER:
                break
            if not told:
                print(f"waiting: {what}{_holder(lock)}; this one begins when it ends", flush=True)
            told = True
            time.sleep(WAIT)
    try:
        yield
    finally:
        if held is not None:
            held.close()


def _holder(lock):
    """Who holds a lock file, as it says itself."""
    with contextlib.suppress(OSError):  # Windows lets nobody else read it
        return f" ({lock.read_text(errors='replace').strip()})"
    return ""

"""The cells of the study on Dask: a worker trains one and returns its file of rows; here it is written and told to DVC."""

import hashlib
import math
import queue
import re
import threading
import time
import traceback
from contextlib import ExitStack, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from omac.datasets import digest
from omac.datasets.registry import DataSet, digest_path
from omac.files import unseal
from omac.paths import BUILD, ROOT, atomic, shown
from omac.study.pipeline import ENV, Ended, dvc, log_of
from omac.study.prepare import ensure, home
from omac.training import source_hash

ANSWERED_WITHIN = 60  # seconds that a scheduler may take to answer; seconds between two looks for workers


@cache
def package():
    """Hex digest of this package's code, comments aside, and of the versions below it, when this process first asked."""
    below = [version(name).split("+")[0] for name in ("torch", "numpy", "jax", "jaxlib", "jaxmarl")]
    files = sorted(source_hash.HERE.rglob("*.py"))
    return hashlib.sha256("".join([*below, *(source_hash.normal(f.read_text()) for f in files)]).encode()).hexdigest()


def data_of(cell):
    """({name: sha256} of a cell's data set and its held-out episodes, params). Raises ValueError for a missing file."""
    params, folder = home(cell["profile"])
    wanted = DataSet.parse(cell["dataset"])
    names = [wanted.name, wanted.held.name][: 2 if params["data"]["held_out_episodes"] else 1]
    for path in (digest_path(name, folder) for name in names):
        if not path.exists():
            raise ValueError(f"{shown(path)} is not here, and DVC records a cell by its data: dvc repro subsample")
    return {name: digest.read(digest_path(name, folder)).sha256 for name in names}, params


def work(cell, params, data, ours):
    """Run one cell on a worker, as study.run_cell does. Returns (the bytes of its CSV, seconds).

    The data set is made here where it is missing. Raises ValueError when code or data are not those of the caller, or
    when the worker runs several cells in one process.
    """
    from distributed import get_worker

    from omac.study.cell import run_cell  # here, for only a worker needs torch

    began, threads = time.monotonic(), get_worker().state.nthreads
    if threads > 1:
        raise ValueError(
            f"this worker has {threads} threads, a cell needs a process of its own: start it with --nthreads 1"
        )
    if package() != ours:
        raise ValueError("this worker runs other code or libraries: install the same commit there and start it again")
    folder = home(cell["profile"])[1]
    ensure(cell["dataset"], params, folder)
    for name, wanted in data.items():
        if digest.read(digest_path(name, folder)).sha256 != wanted:
            raise ValueError(
                f"this worker's {name} is another data set: share data/ with it, or copy data/digests and data/episodes to it"
            )
    out = BUILD / "dask" / Path(cell["out"]).name
    given = {name: value for name, value in cell.items() if name != "out"}
    run_cell(**given, out=out, params=params, folder=folder, progress=False)
    return out.read_bytes(), time.monotonic() - began


def failed(item, error):
    """Write an exception to the cell's log. Returns Ended, with its first line."""
    log_of(item).write_text("".join(traceback.format_exception(error)))
    return Ended(None, " ".join(f"{type(error).__name__}: {error}".splitlines()[:1]))


def close_workers(workers):
    """End the worker processes here; on a busy machine they may take longer than Dask waits, and then end with this one."""
    with suppress(TimeoutError):
        workers.close()


def check_address(address):
    """Raise ValueError for what is neither "local" nor a scheduler's address."""
    port = re.fullmatch(r"[a-z]+://(?:[^\s/:]+|\[[^\s/]+\])(?::([0-9]{1,5}))?", address)
    if address != "local" and not (port and int(port[1] or 1) in range(1, 1 << 16)):
        raise ValueError(f"--dask is {address!r}; it takes local, or a scheduler's address such as tcp://host:8786")


def connect(address):
    """Return a Client of the scheduler at an address. Raises OSError, in one line, where none answers within ANSWERED_WITHIN.

    Dask waits for ever for a server that takes the connection and says nothing, and takes an answer of another kind of server for
    the length of a message.
    """
    from distributed import Client

    found = queue.SimpleQueue()

    def ask():
        try:
            found.put(Client(address, timeout=ANSWERED_WITHIN))
        except Exception as e:
            found.put(e)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = found.get(timeout=ANSWERED_WITHIN)
    except queue.Empty:
        answer = TimeoutError()
    if isinstance(answer, Exception):
        raise OSError(
            f"--dask {address}: no Dask scheduler answers there within {ANSWERED_WITHIN} seconds ({type(answer).__name__}): start one with "
            "`dask scheduler`, or correct the address that it prints"
        ) from None
    return answer


class DaskBackend:
    """Cells on Dask: on `jobs` worker processes here ("local"), or on a scheduler's own. Rows are written and recorded here.

    Raises RuntimeError without the package, OSError when no scheduler answers.
    """

    most = math.inf  # all cells are handed over at once; the scheduler deals them out

    def __init__(self, address, jobs):
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as e:
            raise RuntimeError("--dask needs the package distributed: pip install -e '.[dask]'") from e
        self.under_way, self.looked, self.idle = {}, -math.inf, False
        with ExitStack() as stack:
            if address == "local":
                stack.enter_context(dask.config.set({"distributed.nanny.pre-spawn-environ": ENV}))
                one = {"threads_per_worker": 1, "memory_limit": None, "local_directory": str(BUILD / "dask")}
                address = LocalCluster(n_workers=jobs, dashboard_address=None, security=True, **one)
                stack.callback(close_workers, address)
            client = connect(address) if isinstance(address, str) else Client(address)
            self.client = stack.enter_context(client)
            self.open = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open.close()

    @property
    def width(self):
        """How many cells run side by side now; none where the scheduler has gone."""
        try:
            return len(self.client.nthreads())
        except OSError:
            return 0

    def submit(self, item, cell):
        """Hand a cell to the scheduler; one whose data are not here fails at once."""
        try:
            data, params = data_of(cell)
            future = self.client.submit(work, cell, params, data, package(), pure=False)
            self.under_way[item] = cell, future
        except ValueError as e:
            self.under_way[item] = failed(item, e)

    def look_for_workers(self):
        """Say so, once, while there is nobody to run what was handed over; look every ANSWERED_WITHIN seconds."""
        if time.monotonic() < self.looked + ANSWERED_WITHIN:
            return
        self.looked, was_idle = time.monotonic(), self.idle
        self.idle = self.width == 0
        if self.idle and not was_idle:
            print(
                "waiting: the scheduler has no workers; start them with `dask worker ADDRESS --nthreads 1`", flush=True
            )

    def poll(self, item):
        """None while a cell is under way; then its rows are written and told to DVC: Ended."""
        if isinstance(self.under_way[item], Ended):
            return self.under_way[item]
        cell, future = self.under_way[item]
        if not future.done():
            self.look_for_workers()
            return None
        try:
            rows, seconds = future.result()
            unseal(rows, f"what a worker sent of {item}", "run it again")
            with atomic(ROOT / cell["out"]) as part:
                part.write_bytes(rows)
            dvc("commit", "-f", item)
        except Exception as e:
            return failed(item, e)
        return Ended(seconds, "")

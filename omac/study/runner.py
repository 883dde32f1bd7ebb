"""The cells of the study side by side, each run by DVC in a process of its own, and what became of them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from omac.paths import BUILD, ROOT, alone, shown
from omac.progress import bar
from omac.study.grid import is_current
from omac.study.pipeline import DVC, ENV, Ended, cells, choose_cells, dvc, find_busy, left, log_of, reason

PAUSE = 0.5  # seconds between two looks at the cells under way
PATIENCE = 15  # seconds that an interrupted cell has to end by itself
ASKED_TO_END = ("SIGTERM", "SIGHUP", "SIGBREAK")  # taken as Ctrl-C, where the system has them


def by_dvc(item, cell):
    """Return the words of the command that has DVC run a cell."""
    return [*DVC, "repro", "-s", item]


class LocalBackend:
    """Cells as child processes of this one. Leaving the context ends those under way."""

    def __init__(self, jobs, words=by_dvc):
        """Make room for `jobs` cells side by side; words: function (item, cell) -> the words of the command that runs it."""
        self.width = jobs
        self.most = jobs  # cells under way at a time
        self.words = words
        self.cells, self.began, self.children, self.told = {}, {}, {}, set()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self.env = {**os.environ, **ENV, "PATH": path}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_processes(self.children.values())

    def submit(self, item, cell):
        """Begin a cell; what it prints goes to its log."""
        self.cells[item] = cell
        self.began.setdefault(item, time.monotonic())
        with open(log_of(item), "w") as log:
            words = self.words(item, cell)
            self.children[item] = subprocess.Popen(words, cwd=ROOT, env=self.env, stdout=log, stderr=log)

    def poll(self, item):
        """None while a cell is under way or waits for another DVC command, then Ended."""
        code = self.children[item].poll()
        if code is None:
            return None
        said = log_of(item).read_text(errors="replace") if code else ""
        busy = find_busy(said)
        if busy and busy.ends():
            if item not in self.told:
                print(f"{item}: {busy.waiting()}", flush=True)
            self.told.add(item)
            self.submit(item, self.cells[item])
            return None
        killed = f"it was killed (signal {-code}): run the same command again"
        error = reason(said) if code > 0 else killed if code else ""
        return Ended(time.monotonic() - self.began[item], error)


def end_processes(children):
    """End what the children run and wait for them: DVC then ends by itself, never while it writes dvc.lock."""
    deadline = time.monotonic() + PATIENCE
    while alive := [c for c in children if c.poll() is None]:
        late = time.monotonic() > deadline
        for child in alive:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(child.pid)
                for p in process.children(recursive=True) + [process] * late:
                    p.kill() if late else p.terminate()
        time.sleep(PAUSE)


def spell(seconds):
    """Return a duration in words: 45 s, 21 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def conduct(todo, backend, progress):
    """Run all cells of `todo` on a backend, and say how each ended.

    The time to expect is the mean of the finished cells' seconds, times the cells left, over those side by side.

    Returns:
        {item: error} of the failed.
    """
    waiting, running, took, failed, ends = list(todo), [], [], {}, None
    while waiting or running:
        while waiting and len(running) < backend.most:
            item = waiting.pop(0)
            backend.submit(item, todo[item])
            running.append(item)
        time.sleep(PAUSE)
        polled = {item: backend.poll(item) for item in running}
        for item, ended in ((item, ended) for item, ended in polled.items() if ended):
            running.remove(item)
            if ended.error:
                failed[item] = ended.error
            else:
                took.append(ended.seconds)
                progress.update()
            remain = len(waiting) + len(running)
            rounds = remain / max(1, min(remain, backend.width))
            ends = time.monotonic() + sum(took) / len(took) * rounds if took else None
            line = f"{'FAILED' if ended.error else 'done':6}  {item}"
            line += f"  {spell(ended.seconds)}" if ended.seconds else ""
            progress.write(f"{line}  ({len(todo) - remain} of {len(todo)}; {_hope(remain, ends)})")
            sys.stdout.flush()
        progress.set_postfix_str(_hope(len(waiting) + len(running), ends))
    return failed


def _hope(remain, ends):
    """How many cells are left and, once one has finished, for how long."""
    return f"{remain} left" + (f", about {spell(max(0, ends - time.monotonic()))}" if ends and remain else "")


@contextmanager
def terminable():
    """Take a request to end, SIGHUP unless nohup has silenced it, as Ctrl-C: nothing is left running."""

    def interrupt(*_):
        raise KeyboardInterrupt

    known = [getattr(signal, name) for name in ASKED_TO_END if hasattr(signal, name)]
    asked = [s for s in known if signal.getsignal(s) == signal.SIG_DFL]
    for s in asked:
        signal.signal(s, interrupt)
    try:
        yield
    finally:
        for s in asked:
            signal.signal(s, signal.SIG_DFL)


def run(names=(), jobs=2, dask=None):
    """Run the cells left of those that `names` mean, `jobs` side by side, or on Dask: "local" or a scheduler's address.

    Prints a line a cell and a summary that names the failed ones. Another study in this checkout is waited for.

    Returns:
        The exit code: 0, 1 if a cell failed, 130 if interrupted.
    Raises:
        ValueError: an unknown name or address. RuntimeError or OSError: DVC or Dask cannot begin.
    """
    if dask is not None:
        from omac.study.dask_runner import check_address

        check_address(dask)
    try:
        known = choose_cells(cells(), names)
        with terminable(), alone(BUILD / "study.lock", "another study runs in this checkout"):
            todo, failed = _run(known, jobs, dask)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on, a cell that was under way from its last checkpoint")
        return 130
    for item, error in failed.items():
        print(f"failed: {item}: {error}\n        {shown(log_of(item))}")
    if failed:
        print(f"failed: {len(failed)} of {len(todo)}; the same command runs them again")
    return 1 if failed else 0


def _run(known, jobs, dask):
    """Run what is left of the known cells. Returns ({item: cell} of these, {item: error} of the failed)."""
    if not is_current(ROOT / "cells.yaml"):
        print("note: cells.yaml is not what params.yaml's grid says: `python -m omac grid` writes it anew")
    dvc("repro", "-s", "code")  # else DVC would hold the cells against the code of another day
    todo = left(known)
    print(f"cells: {len(known)}, up to date: {len(known) - len(todo)}, to run: {len(todo)}", flush=True)
    backend = _backend(dask if todo else None, jobs)
    progress = bar("cells", len(known), "cell", len(known) - len(todo))
    progress.bar_format = "{n_fmt} of {total_fmt} cells {bar} {elapsed}{postfix}"
    with backend, progress:
        return todo, conduct(todo, backend, progress)


def _backend(dask, jobs):
    """Where cells run: on Dask at an address, or here."""
    if not dask:
        return LocalBackend(jobs)
    from omac.study.dask_runner import DaskBackend

    return DaskBackend(dask, jobs)

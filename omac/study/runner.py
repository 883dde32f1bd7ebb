"""The cells of the study side by side, each run by DVC in a process of its own, and what became of them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from omac.paths import ROOT, shown
from omac.progress import bar
from omac.study.pipeline import DVC, ENV, cells, choose_cells, last_words, left, log_of

PAUSE = 0.5  # seconds between two looks at the cells under way
PATIENCE = 15  # seconds that an interrupted cell has to end by itself


@contextmanager
def local_backend(jobs):
    """Yield (start, most, width): start(item, cell) has DVC run a cell and returns a poll, which gives None while it
    runs, then (seconds or None, error or 0); at most `most` are to be under way, width() are side by side. Leaving ends them.
    """
    env = {**os.environ, **ENV, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    children = []

    def start(item, cell):
        began, log = time.monotonic(), log_of(item)
        with open(log, "w") as out:
            child = subprocess.Popen([*DVC, "repro", "-s", item], cwd=ROOT, env=env, stdout=out, stderr=out)
        children.append(child)

        def poll():
            if child.poll() is None:
                return None
            return time.monotonic() - began, child.returncode and last_words(log.read_text(errors="replace"))

        return poll

    try:
        yield start, jobs, lambda: jobs
    finally:
        _end(children)


def _end(children):
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
    """A duration in words: 45 s, 21 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def conduct(todo, start, most, width, progress):
    """Start all cells of `todo`, at most `most` under way, and say how each ended. Returns {item: error} of the failed.
    The time to expect: the mean of the finished cells' seconds, times the cells left, over those side by side.
    """
    waiting, running, took, failed, ends = list(todo), {}, [], {}, None
    while waiting or running:
        while waiting and len(running) < most:
            item = waiting.pop(0)
            running[item] = start(item, todo[item])
        time.sleep(PAUSE)
        for item, (seconds, error) in [(i, end) for i, poll in running.items() if (end := poll()) is not None]:
            del running[item]
            if error:
                failed[item] = error
            else:
                took.append(seconds)
                progress.update()
            remain = len(waiting) + len(running)
            rounds = remain / max(1, min(remain, width()))
            ends = time.monotonic() + sum(took) / len(took) * rounds if took else None
            line = f"{'FAILED' if error else 'done':6}  {item}" + (f"  {spell(seconds)}" if seconds else "")
            progress.write(f"{line}  ({len(todo) - remain} of {len(todo)}; {_hope(remain, ends)})")
            sys.stdout.flush()
        progress.set_postfix_str(_hope(len(waiting) + len(running), ends))
    return failed


def _hope(remain, ends):
    """How many cells are left and, once one has finished, for how long."""
    return f"{remain} left" + (f", about {spell(max(0, ends - time.monotonic()))}" if ends and remain else "")


@contextmanager
def _terminable():
    """Take SIGTERM, and SIGHUP unless nohup has silenced it, as Ctrl-C: nothing is left running."""

    def interrupt(*_):
        raise KeyboardInterrupt

    asked = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) == signal.SIG_DFL]
    for s in asked:
        signal.signal(s, interrupt)
    try:
        yield
    finally:
        for s in asked:
            signal.signal(s, signal.SIG_DFL)


def run(names=(), jobs=2, dask=None):
    """Run the cells left of those that `names` mean, `jobs` side by side, or on Dask: "local" or a scheduler's address.

    Prints a line a cell and a summary that names the failed ones. Returns the exit code: 0, 1 if a cell failed, 130 if
    interrupted. Raises ValueError for an unknown name or address, RuntimeError or OSError when DVC or Dask cannot begin.
    """
    if dask:
        from omac.study.dask_runner import dask_backend
    try:
        known = choose_cells(cells(), names)
        todo = left(known)
        print(f"cells: {len(known)}, up to date: {len(known) - len(todo)}, to run: {len(todo)}", flush=True)
        with _terminable(), dask_backend(dask, jobs) if dask and todo else local_backend(jobs) as (start, most, width):
            progress = bar("cells", len(known), "cell", len(known) - len(todo))
            progress.bar_format = "{n_fmt} of {total_fmt} cells {bar} {elapsed}{postfix}"
            with progress:
                failed = conduct(todo, start, most, width, progress)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on, a cell that was under way from its last checkpoint")
        return 130
    for item, error in failed.items():
        print(f"failed: {item}: {error}\n        {shown(log_of(item))}")
    if failed:
        print(f"failed: {len(failed)} of {len(todo)}; the same command runs them again")
    return 1 if failed else 0

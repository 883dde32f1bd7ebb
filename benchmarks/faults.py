"""Flip single bits in small valid files of every kind that is read here, and count what becomes of them.

python benchmarks/faults.py [kinds ...]    all kinds, or some, 200 flips each; their lines go into docs/reliability.md
python benchmarks/faults.py --hostile      count what becomes of the hostile inputs of tests/test_hostile.py; likewise

A flip is refused, or changes nothing that is read, or changes numbers within what they may be, where a file has no checksum.
It must not be answered with a traceback, a crash of the interpreter, or not at all.
"""

import argparse
import hashlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from fault_kinds import KINDS

from omac.data.episodes import Episodes
from omac.data.validation import FIELDS
from omac.paths import ROOT, atomic

FLIPS = 200  # in each kind of file
PATIENCE = 60  # seconds of a processor that one file may take
LONGEST = 1800  # seconds that it may take without any work: another program may have the processor
PAGE = ROOT / "docs" / "reliability.md"
MARKS = ("<!-- faults: written by benchmarks/faults.py -->\n", "<!-- end of faults -->")
HOSTILE_MARKS = ("<!-- hostile: written by benchmarks/faults.py -->\n", "<!-- end of hostile -->")
OUTCOMES = ("refused", "nothing changed", "other numbers", "several lines", "traceback", "crash", "hang")


def content(found):
    """{name: digest} of all that a run could see of a file."""
    if isinstance(found, Episodes):
        about = {k: v for k, v in found.about.items() if k != "origin"}  # which names the digest of the flipped file
        found = {**{k: getattr(found, k) for k in FIELDS}, "attributes": about}
    return {str(name): hashlib.sha256(_bytes(found[name])).hexdigest() for name in found}


def _bytes(value):
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value).tobytes()
    return repr(value.tolist() if hasattr(value, "tolist") else value).encode()


def worker(count, seed, todo):
    """Print a line of JSON for every flip: its kind, what became of it, and in which words.

    todo: [(kind, the first flip)].
    """
    for name, first in todo:
        kind = KINDS[name]
        with tempfile.TemporaryDirectory() as there:
            folder = Path(there)
            path = Path(kind.make(folder))
            whole, sound = path.read_bytes(), content(kind.read(folder, path))
            rng = np.random.default_rng(seed)
            places = np.stack([rng.integers(0, len(whole), count), rng.integers(0, 8, count)], 1)
            for at, bit in places[first:].tolist():
                path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
                print(json.dumps([name, *_become(kind.read, folder, path, sound)]), flush=True)


def _become(read, folder, path, sound):
    try:
        found = content(read(folder, path))
    except (ValueError, OSError) as e:
        return "several lines" if "\n" in str(e) else "refused", str(e).replace(str(folder), "...")
    except BaseException as e:
        return "traceback", repr(e)
    moved = sorted(k for k in {**found, **sound} if found.get(k) != sound.get(k))
    return ("other numbers" if moved else "nothing changed"), " ".join(moved)


def flips(kinds, count=FLIPS, seed=0):
    """What became of `count` flips of each kind: {kind: [(outcome, words)]}.

    A worker that crashes or hangs is replaced, and it counts as that.
    """
    found = {kind: [] for kind in kinds}
    while todo := [(kind, len(found[kind])) for kind in kinds if len(found[kind]) < count]:
        ended, said = _run_worker([count, seed, todo], found)
        unfinished = next((kind for kind in kinds if len(found[kind]) < count), None)
        if unfinished:
            found[unfinished].append((ended, said))
    return found


def _run_worker(task, found):
    """Have a worker flip bits, and add what it says to `found`: (how it ended, where it did not end well, its last words)."""
    call = [sys.executable, "-X", "faulthandler", __file__, "--worker", json.dumps(task)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=errors, text=True)
        lines = queue.SimpleQueue()
        threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True).start()
        while line := _next_line(process, lines):
            kind, *became = json.loads(line)
            found[kind].append(tuple(became))
        if line is None:
            process.kill()
        process.wait()
        errors.seek(0)
        said = errors.read()
    if process.returncode == 1:  # the worker itself, not the interpreter
        raise RuntimeError(said)
    return ("hang" if line is None else "crash"), said[-2000:]


def _pass_on(stream, lines):
    """Put the lines of a stream into a queue, and "" at its end."""
    for line in stream:
        lines.put(line)
    lines.put("")


def _next_line(process, lines):
    """The next line of a worker; "" when it has ended, None when it works on one file for too long."""
    begun, used = time.monotonic(), _seconds(process)
    while True:
        try:
            return lines.get(timeout=1)
        except queue.Empty:
            if _seconds(process) - used > PATIENCE or time.monotonic() - begun > LONGEST:
                return None


def _seconds(process):
    try:
        return sum(psutil.Process(process.pid).cpu_times()[:2])
    except psutil.Error:
        return 0.0


def counted(kinds, count=FLIPS):
    """{kind: [flips, and how many of them ended in which way]}."""
    found = {kind: Counter(outcome for outcome, _ in became) for kind, became in flips(kinds, count).items()}
    return {kind: [count, *(outcomes[k] for k in OUTCOMES)] for kind, outcomes in found.items()}


def hostile():
    """{what is tried: [inputs, refused in one line or accepted where they are sound, not so]} of tests/test_hostile.py."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(ROOT / "tests" / "test_hostile.py")]
        subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, stdout=sys.stderr)
        cases = list(ElementTree.parse(report).iter("testcase"))
    found = {}
    for case in cases:
        name = case.get("name").partition("[")[0].removeprefix("test_").replace("_", " ")
        total, well, ill = found.get(name, [0, 0, 0])
        failed = any(child.tag in ("failure", "error") for child in case)
        skipped = any(child.tag == "skipped" for child in case)
        found[name] = [total + (not skipped), well + (not failed and not skipped), ill + failed]
    return found


def read_lines(marks, text):
    """{first cell: the others} of the table between two marks of a page."""
    table = text.split(marks[0])[1].split(marks[1])[0].strip().splitlines()[2:]
    cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table)
    return {first: list(map(int, others)) for first, *others in cells}


def write_lines(marks, head, lines):
    """Write a table between two marks of the page."""
    before, rest = PAGE.read_text(encoding="utf-8").split(marks[0])
    rows = [head, ["---"] * len(head), *([first, *map(str, others)] for first, others in lines.items())]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    with atomic(PAGE) as part:
        part.write_text(f"{before}{marks[0]}{table}{marks[1]}{rest.split(marks[1])[1]}", encoding="utf-8")
    return table


def main():
    """Run what is asked for, and write its lines into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--flips", type=int, default=FLIPS)
    parser.add_argument("--hostile", action="store_true")
    args = parser.parse_args()
    if args.hostile:
        print(write_lines(HOSTILE_MARKS, ["what is tried", "inputs", "as it should be", "not so"], hostile()))
        return
    lines = {**read_lines(MARKS, PAGE.read_text(encoding="utf-8")), **counted(args.kinds, args.flips)}
    lines = {kind: lines[kind] for kind in KINDS if kind in lines}
    print(write_lines(MARKS, ["file", "flips", *OUTCOMES], lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*json.loads(sys.argv[2]))
    else:
        main()

"""Flip single bits in small valid files of every layout that is read here, and count what becomes of them.

python benchmarks/faults.py [kinds ...]    all kinds, 400 flips each; the table goes into docs/reliability.md

A flip is refused, or changes nothing that is read, or changes numbers within what they may be, where a file has no checksum.
It must not be answered with a traceback, a crash of the interpreter, or not at all.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import pickle
import selectors
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from omac import paths
from omac.data.episodes import Episodes
from omac.data.validation import FIELDS
from omac.paths import ROOT, atomic

FLIPS = 400  # in each kind of file
PATIENCE = 60  # seconds that one file may take
PAGE = ROOT / "docs" / "reliability.md"
MARKS = ("<!-- faults: written by benchmarks/faults.py -->\n", "<!-- end of faults -->")
SIZES, LIMIT = (3, 30, 48, 9), 60  # 3m
MADT = (5, 124, 100, 12)  # 5m_vs_6m as MADT sees it, with a small state


def battle(won, steps, sizes, rng):
    """One battle as StarCraft II would give it, with its final view: obs, state, avail, action, reward."""
    n, width, S, A = sizes
    m, bonus = A - 6, 11.0
    enemies = np.linspace(1, 0 if won else 0.4, steps + 1)[:, None].repeat(m, 1)
    allies = np.linspace(1, 0.3 if won else 0, steps + 1)[:, None].repeat(n, 1)
    state = np.zeros((steps + 1, S))
    state[:, : 4 * n : 4], state[:, 4 * n : 4 * n + 3 * m : 3] = allies, enemies
    obs = rng.uniform(-1, 1, (steps + 1, n, width))
    avail = rng.random((steps + 1, n, A)) < 0.5
    avail[..., 0], avail[..., 1] = False, True
    avail[-1, :, 6:] = False
    if not won:
        avail[-1] = np.arange(A) == 0
    action = (rng.random((steps, n, A)) * avail[:-1]).argmax(-1)
    reward = rng.dirichlet(np.ones(steps)) * (20 - bonus if won else 6)
    reward[-1] += bonus * won
    return obs.astype("f4"), state.astype("f4"), avail, action, reward.astype("f4")


def battles(count=8, sizes=SIZES, seed=0):
    """Battles won and lost, half and half."""
    rng = np.random.default_rng(seed)
    return [battle(i % 2 == 0, int(rng.integers(8, 20)), sizes, rng) for i in range(count)]


def own(folder):
    """Our own layout, as `pull` and `subsample` write it."""
    as_pymarl(folder / "mirror", {"compression": "gzip"})
    path, _ = _pull(folder, "cfcql", "3m")
    return path


def as_pymarl(mirror, options):
    n, width, S, A = SIZES
    x = {
        "obs": np.zeros((8, LIMIT + 1, n, width), "f4"),
        "state": np.zeros((8, LIMIT + 1, S), "f4"),
        "avail_actions": np.zeros((8, LIMIT + 1, n, A), "i4"),
        "actions": np.zeros((8, LIMIT + 1, n, 1), "i8"),
        "reward": np.zeros((8, LIMIT + 1, 1), "f4"),
        "terminated": np.zeros((8, LIMIT + 1, 1), "u1"),
        "filled": np.zeros((8, LIMIT + 1, 1), "i8"),
    }
    for e, (obs, state, avail, action, reward) in enumerate(battles()):
        t = len(reward)
        x["obs"][e, : t + 1], x["state"][e, : t + 1], x["avail_actions"][e, : t + 1] = obs, state, avail
        x["actions"][e, :t, :, 0], x["reward"][e, :t, 0], x["filled"][e, : t + 1] = action, reward, 1
        x["terminated"][e, t - 1] = 1
    path = mirror / "cfcql" / "3m" / "good" / "a.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as f:
        for key, values in x.items():
            f.create_dataset(key, data=values, **options)
    return path


def as_vault(mirror):
    """A Vault in a zip archive, as OG-MARL offers it."""
    import tensorstore

    obs, state, avail, action, reward = (np.concatenate(c)[None] for c in zip(*map(_acting, battles()), strict=True))
    over = np.concatenate(
        [(b[2][1:].sum(-1) == 1) | (np.arange(len(b[4])) == len(b[4]) - 1)[:, None] for b in battles()]
    )
    x = {
        "observations.": obs,
        "infos.state.": state,
        "infos.legals.": avail.astype("f4"),
        "actions.": action.astype("i4"),
    }
    x |= {
        "rewards.": np.repeat(reward[..., None], SIZES[0], -1),
        "terminals.": over[None],
        "truncations.": np.zeros_like(over)[None],
    }
    x["vault_index"] = np.array([reward.shape[1]], "i4")
    archive = mirror / "ogmarl" / "3m.zip"
    archive.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive, "w") as z:
        for key, values in x.items():
            store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}, "path": key}
            kind = "|b1" if values.dtype == bool else values.dtype.str
            meta = {"dtype": kind, "shape": list(values.shape), "chunks": list(values.shape)}
            spec = {"driver": "zarr", "kvstore": store, "metadata": meta}
            tensorstore.open(spec, create=True).result().write(values).result()
        Path(folder, "metadata.json").write_text('{"version": 1.0}')
        files = [p for p in Path(folder).rglob("*") if p.is_file()]
        for path in sorted(files, key=lambda p: (p.stat().st_size, p.name)):  # the names are drawn anew each time
            z.writestr(zipfile.ZipInfo(f"3m.vlt/Good/{path.relative_to(folder)}"), path.read_bytes())
    return archive


def _acting(x):
    obs, state, avail, action, reward = x
    return obs[:-1], state[:-1], avail[:-1], action, reward


def as_madt(mirror, dump):
    """One of MADT's pickles: [agent][t] = [g, o, a, r, d, avail]."""
    obs, state, avail, action, reward = battles(1, MADT)[0]
    agents = []
    for i in range(MADT[0]):
        g = np.split(state, MADT[0], -1)[i]
        step = [(g[t], obs[t, i], action[t, i : i + 1], reward[t : t + 1]) for t in range(len(reward))]
        last = len(step) - 1
        agents.append(
            [[*(x.tolist() for x in s), np.bool_(t == last), avail[t, i].tolist()] for t, s in enumerate(step)]
        )
    path = mirror / "madt" / "5m_vs_6m" / "good" / "0"
    path.parent.mkdir(parents=True)
    with open(path, "wb") as f:
        dump(agents, f)
    return path


def _torch_save(x, file):
    import torch

    torch.save(x, file)


def _pull(folder, source, map_name):
    from omac.study.prepare import pull

    os.environ["OMAC_MIRROR"], paths.BUILD = str(folder / "mirror"), folder / "build"
    with contextlib.redirect_stderr(io.StringIO()):
        return pull(source, map_name, "good", None, None, folder)


def pulled(source, map_name):
    """How a file of a mirror is read: all the way to the data set that is made of it."""

    def read(folder, path):
        for old in (*(folder / "raw").glob("*.h5"), *(folder / "build" / "downloads").glob("*/**/*.ocdbt")):
            old.unlink()
        return Episodes.load(_pull(folder, source, map_name)[0])

    return read


KINDS = {  # what is flipped: how it is made in a folder, how it is read, which of its numbers no checksum covers
    "our own HDF5": (own, lambda folder, path: Episodes.load(path)),
    "PyMARL's HDF5, compressed": (lambda f: as_pymarl(f / "mirror", {"compression": "gzip"}), pulled("cfcql", "3m")),
    "PyMARL's HDF5, plain": (lambda f: as_pymarl(f / "mirror", {}), pulled("cfcql", "3m")),
    "MADT's pickle, torch's zip": (lambda f: as_madt(f / "mirror", _torch_save), pulled("madt", "5m_vs_6m")),
    "MADT's pickle, plain": (lambda f: as_madt(f / "mirror", pickle.dump), pulled("madt", "5m_vs_6m")),
    "OG-MARL's Vault, zip": (lambda f: as_vault(f / "mirror"), pulled("ogmarl", "3m")),
}


def content(data):
    """{field: digest} of Episodes: all that training could see."""
    found = {k: hashlib.sha256(np.ascontiguousarray(getattr(data, k))).hexdigest() for k in FIELDS}
    about = {
        k: v for k, v in data.about.items() if k != "origin"
    }  # which names the digest of the file that was flipped
    return {**found, "attributes": hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()}


def worker(kind, first, last, seed):
    """Print a line of JSON for every flip: its number, what became of it, and in which words."""
    make, read = KINDS[kind]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = make(folder)
        whole, sound = path.read_bytes(), content(read(folder, path))
        rng = np.random.default_rng(seed)
        places = np.stack([rng.integers(0, len(whole), last), rng.integers(0, 8, last)], 1)
        for i in range(first, last):
            at, bit = map(int, places[i])
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
            print(json.dumps([i, *_become(read, folder, path, sound)]), flush=True)


def _become(read, folder, path, sound):
    try:
        found = content(read(folder, path))
    except (ValueError, OSError) as e:
        return "several lines" if "\n" in str(e) else "refused", str(e).replace(str(folder), "...")
    except BaseException as e:
        return "traceback", repr(e)
    moved = [k for k in found if found[k] != sound[k]]
    return ("other numbers" if moved else "nothing changed"), " ".join(moved)


def flips(kind, count=FLIPS, seed=0):
    """What became of `count` flips: [(outcome, words)]. A worker that crashes or hangs is replaced, and it counts as that."""
    found = []
    while len(found) < count:
        call = [
            sys.executable,
            "-X",
            "faulthandler",
            __file__,
            "--worker",
            kind,
            str(len(found)),
            str(count),
            str(seed),
        ]
        process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            hung = False
            while not hung:
                hung = not ready.select(PATIENCE)
                line = "" if hung else process.stdout.readline()
                if not line:
                    break
                found.append(tuple(json.loads(line)[1:]))
        process.kill()
        said = process.communicate()[1]
        if len(found) < count:
            if process.returncode == 1:  # the worker itself, not the interpreter
                raise RuntimeError(said)
            found.append(("hang" if hung else "crash", said[-2000:]))
    return found


OUTCOMES = ("refused", "nothing changed", "other numbers", "several lines", "traceback", "crash", "hang")


def table(kinds, count=FLIPS):
    """A row per kind of file: how many flips ended in which way; as Markdown."""
    import pandas as pd

    from omac.analysis.results import markdown

    rows = []
    for kind in kinds:
        counted = Counter(outcome for outcome, _ in flips(kind, count))
        rows.append({"file": kind, "flips": count, **{k: counted[k] for k in OUTCOMES}})
        print(rows[-1], file=sys.stderr, flush=True)
    return markdown(pd.DataFrame(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--flips", type=int, default=FLIPS)
    args = parser.parse_args()
    found = table(args.kinds, args.flips)
    print(found)
    if list(args.kinds) == list(KINDS):
        before, rest = PAGE.read_text().split(MARKS[0])
        with atomic(PAGE) as part:
            part.write_text(f"{before}{MARKS[0]}{found}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()

"""Made-up battles of StarCraft II in the layouts of others, written and read back: files that benchmarks/faults.py flips bits in."""

import contextlib
import io
import os
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

from omac import paths
from omac.data.episodes import Episodes

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


def torch_save(x, file):
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

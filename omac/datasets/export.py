"""Data sets in the layouts that others read: OG-MARL's Vault, PyMARL's padded HDF5, and this project's own HDF5."""

import contextlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

from omac.config.names import check_name
from omac.data import hdf5
from omac.datasets.loaders import kept
from omac.paths import atomic, need_folder, need_room, shown
from omac.progress import bar

MADE = "made"  # a Vault's folder until it is moved to its place
IN_ADDRESSES = "[#?%]"
ENDINGS = {"hdf5": ".h5", "pymarl": ".pymarl.h5", "vault": ".vlt"}  # of each layout


def write_layout(data, layout, path):
    """Write Episodes in another layout, atomically. `kept.restored` reads each of them back, to the same digest.

    Args:
        data: Episodes.
        layout: a key of ENDINGS.
        path: the file, or of a Vault the folder <name>.vlt.
    Returns:
        What can be imported: the path, of a Vault the folder <name>.vlt/<Level>.
    Raises:
        ValueError: no such layout. RuntimeError: flashbax, which writes Vaults, is not installed.
    """
    check_name("layout", layout, ENDINGS)
    if layout == "hdf5":
        data.save(path)
        return Path(path)
    return {"pymarl": write_pymarl, "vault": write_vault}[layout](data, Path(path))


def write_pymarl(data, path):
    """Write PyMARL's buffer: [episodes, longest + 1, ...], zeros behind the final view, `terminated` 0 where time ran out."""
    N, longest = len(data), int(data.lengths.max())
    n, A = data.avail.shape[1:]
    columns = {  # PyMARL's key: what it holds, whether of every view, its type, its shape
        "obs": (data.obs, True, "f4", data.obs.shape[1:]),
        "state": (data.state, True, "f4", data.state.shape[1:]),
        "avail_actions": (data.avail, True, "i4", (n, A)),
        "actions": (data.action[..., None], False, "i8", (n, 1)),
        "reward": (data.reward[:, None], False, "f4", (1,)),
        "terminated": (data.terminated[:, None], False, "u1", (1,)),
        "filled": (np.ones((len(data.state), 1)), True, "i8", (1,)),
    }
    with atomic(path) as part:
        need_room(path, data.obs.nbytes + data.state.nbytes)  # before the work, not after it
        with hdf5.created(part, sealed=False) as f, bar(path.name, N * len(columns), "array") as progress:
            for key, (x, views, kind, shape) in columns.items():
                shape, chunk = (N, longest + 1, *shape), (1, longest + 1, *shape)
                file = f.create_dataset(
                    key, shape, kind, chunks=chunk, compression="gzip", compression_opts=1, shuffle=True
                )
                for e in range(N):
                    block, (a, b) = np.zeros(shape[1:], kind), data.start[e : e + 2] + e * views
                    block[: b - a + views] = x[a : b + views]
                    file[e] = block
                    progress.update()
            kept.write(f, data)
    return path


@contextlib.contextmanager
def _plainly_named(folder):
    """Yield a path of a folder in which no letter means something in an address: flashbax writes to file://<path>."""
    folder = Path(folder).resolve()
    if not re.search(IN_ADDRESSES, str(folder)):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory() as elsewhere:
        link = Path(elsewhere) / "link"
        link.symlink_to(folder, target_is_directory=True)
        yield str(link)


def write_vault(data, path):
    """Write an OG-MARL Vault with flashbax, one uid, called like the level: every step with the view before it, back to back."""
    need_folder(path)
    uid, steps = data.about["level"].capitalize(), len(data.reward)
    if (path / uid).exists() and not (path / uid / "metadata.json").is_file():
        raise OSError(f"{shown(path / uid)} is there and is no Vault: name another folder with --out")
    try:
        from flashbax.buffers.trajectory_buffer import TrajectoryBufferState
        from flashbax.vault import Vault
    except ImportError:
        raise RuntimeError("writing a Vault needs flashbax: pip install -e '.[vault]'") from None
    row, n = data.rows()[1], data.action.shape[1]
    experience = {
        "observations": data.obs[row][None],
        "actions": data.action.astype(np.int32)[None],
        "rewards": np.repeat(data.reward[None, :, None], n, 2),
        "terminals": np.repeat(data.terminated[None, :, None], n, 2),
        "truncations": np.repeat(data.truncated[None, :, None], n, 2),
        "infos": {"state": data.state[row][None], "legals": data.avail[row].astype(np.float32)[None]},
    }
    about = {k: data.about[k] for k in ("env", "map", "level", "source")}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        with _plainly_named(folder) as plain, contextlib.redirect_stdout(io.StringIO()):  # flashbax prints what it does
            vault = Vault(MADE, experience_structure=experience, rel_dir=plain, vault_uid=uid, metadata=about)
            state = TrajectoryBufferState(experience=experience, current_index=steps, is_full=False)
            vault.write(state, source_interval=(0, steps))
        made = Path(folder) / MADE / uid
        last = data.start[1:] + np.arange(len(data))
        with hdf5.created(made / kept.BESIDE, sealed=False) as f:
            for name in kept.VIEWS:
                f.create_dataset(
                    name, data=getattr(data, name)[last], compression="gzip", compression_opts=1, shuffle=True
                )
            kept.write(f, data)
        if (path / uid).exists():
            shutil.rmtree(path / uid)
        path.mkdir(exist_ok=True)
        os.replace(made, path / uid)
    return path / uid

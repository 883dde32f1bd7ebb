"""Checkpoints: what one belongs to, and reading it safely."""

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import torch

from omac import algorithms
from omac.datasets import digest
from omac.files import seal, unseal
from omac.paths import atomic, shown
from omac.training import source_hash

TRAINING = (
    "nn/networks",
    "nn/factorization",
    "nn/rows",
    "nn/losses",
    "nn/policy",
    "nn/igm",
    "training/replay",
    "training/diagnostics",
    "training/parameters",
    "training/state",
    "training/trainer",
    "data/episodes",
)


def fingerprint(parts, algorithm, hypers, seeds):
    """Hash all that a run's result depends on: data, by their digests, settings, seeds, code. Returns hex.

    A checkpoint with another fingerprint is not continued.

    parts: the Episodes trained on, then the held-out ones or None; hypers: the cell's settings, then each policy's.
    """
    about = {
        "data": [digest.of(data).sha256 for data in parts if data],
        "algorithm": algorithm,
        "settings": [asdict(hyper) for hyper in hypers],
        "seeds": list(map(int, seeds)),
        "code": [source_hash.module_source(TRAINING), *_modules(algorithm)],
    }
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _modules(algorithm):
    """Normal source of an algorithm's module and of the ones in its folder that it imports, in a fixed order."""
    found, todo = {}, [algorithms.get(algorithm)]
    while todo:
        module = todo.pop()
        found[module.__file__] = source_hash.normal(Path(module.__file__).read_text())
        todo += [
            m for m in vars(module).values() if isinstance(m, ModuleType) and m.__name__.startswith("omac.algorithms.")
        ]
    return [found[name] for name in sorted(found)]


def write_checkpoint(path, point):
    """Write a checkpoint, a dict of tensors and plain values, with its sha256, atomically."""
    content = io.BytesIO()
    torch.save(point, content)
    with atomic(path) as part:
        part.write_bytes(seal(content.getvalue()))


def read_checkpoint(path):
    """Read a checkpoint: a dict of tensors and plain values. Raises ValueError for a damaged file."""
    try:
        content = unseal(path.read_bytes(), shown(path))
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as e:
        raise ValueError(f"{shown(path)} cannot be read ({type(e).__name__}): delete it to begin anew") from e

"""Final policies of a few cells, kept in git as float16, with the battles that they fought: to be fought again elsewhere."""

import json
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from omac import algorithms
from omac.config.hyper import load_params, settings
from omac.datasets.registry import DataSet
from omac.envs import make
from omac.evaluation import battle_seeds, evaluate
from omac.files import checked_bytes, record_sums
from omac.nn.networks import generators
from omac.paths import ROOT, atomic, shown
from omac.study.cell import checkpoint_path
from omac.study.machine import machine
from omac.training.checkpoint import read_checkpoint

KEPT = ROOT / "data" / "policies"
KEPT_BATTLES = 10  # first word of these battles' seeds
COUNT = 160  # battles of each policy


class KeptPolicy(NamedTuple):
    """A cell's name and settings, {"dataset", "algorithm", "variant", "profile", "seed", "step", "machine"}; its
    weights, {name: f32 [1,...]}; and what each of its battles came to: returns f32, win bool, length i32, [battles].
    """

    about: dict
    state: dict
    returns: np.ndarray
    win: np.ndarray
    length: np.ndarray


def keep(dataset, algorithm, variant="default", profile="laptop", folder=KEPT):
    """Keep the last published policy of a finished cell's first seed, from its checkpoint, and let it fight. Returns the path.

    Raises ValueError for a cell whose checkpoint is not there.
    """
    name = f"{dataset}-{algorithm}" + ("" if variant == "default" else f"-{variant}")
    checkpoint = checkpoint_path(dataset, algorithm, variant, profile)
    if not checkpoint.exists():
        raise ValueError(f"{shown(checkpoint)} is not there: train the cell first, `python -m omac study {name}`")
    wanted = DataSet.parse(dataset)
    last = read_checkpoint(checkpoint)["snapshots"][-1]
    _, seeds = settings(load_params(), profile, wanted.map, wanted.level, variant)
    state = {k: x[:1].half() for k, x in last["policy"].items()}
    about = {"dataset": dataset, "algorithm": algorithm, "variant": variant, "profile": profile}
    about |= {"seed": int(seeds[0]), "step": int(last["step"]), "machine": machine()}
    found = fight(about, {k: x.float() for k, x in state.items()})
    fought = {k: torch.from_numpy(np.ascontiguousarray(x)) for k, x in found.items()}
    with atomic(folder / f"{name}.safetensors") as part:
        save_file(
            {**{f"policy.{k}": x for k, x in state.items()}, **fought}, part, metadata={"about": json.dumps(about)}
        )
    record_sums(folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def fight(about, state):
    """Let a kept policy fight its battles, greedily. Returns {"returns": f32, "win": bool, "length": i32}, each [battles]."""
    wanted = DataSet.parse(about["dataset"])
    env = f"{wanted.source}:{wanted.map}"
    params = load_params()
    hyper, _ = settings(params, about["profile"], wanted.map, wanted.level, about["variant"])
    module = algorithms.get(about["algorithm"])
    net = module.logits(module.build(make(env, 1).spec, hyper, generators([0])))
    scores = evaluate(env, net, [state], battle_seeds(KEPT_BATTLES, about["seed"], shape=(1, COUNT)))
    return {
        "returns": scores.returns[0].astype(np.float32),
        "win": scores.win[0],
        "length": scores.length[0].astype(np.int32),
    }


def read_policy(path):
    """Read a kept policy. Returns KeptPolicy. Raises ValueError for a damaged file."""
    checked_bytes(path, "keep it anew: `python -m omac keep`")
    try:
        with safe_open(path, "pt") as f:
            about = json.loads(f.metadata()["about"])
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
        state = {k.removeprefix("policy."): x.float() for k, x in tensors.items() if k.startswith("policy.")}
        return KeptPolicy(about, state, *(tensors[k].numpy() for k in ("returns", "win", "length")))
    except (SafetensorError, TypeError, KeyError, ValueError) as e:
        raise ValueError(
            f"{shown(path)} cannot be read ({e}): restore it with `git checkout -- {shown(path)}`"
        ) from None

"""One cell of the study: one algorithm on one data set, all seeds at once, from the file to tidy rows."""

import json

import h5py
import numpy as np
import pandas as pd
import torch

from omac import sources
from omac.config import load_params, settings
from omac.envs import make
from omac.episodes import Episodes, sha256, subsample
from omac.evaluation import battle_seeds, evaluate
from omac.paths import BUILD, ROOT, atomic, shown
from omac.training import train

EVALUATION = {"eval": 1, "final": 2}  # first word of those battles' seeds: every algorithm fights the same battles
KEYS = ["env", "map", "level", "ratio", "algorithm", "variant", "profile", "seed", "step", "kind"]
SCORES = ["episodes", "return_mean", "return_std", "win_rate", "length"]
RATIOS = (100, 50, 10)


def split(dataset):
    """(source, map, level, ratio in %): ("smax", "6h_vs_8z", "medium", 100) from "smax-6h_vs_8z-medium-100". Raises ValueError for another form."""
    parts = dataset.split("-")
    if len(parts) != 4 or not parts[3].isdigit():
        raise ValueError(
            f"data set {dataset!r} is not <source>-<map>-<level>-<ratio>, for instance smax-6h_vs_8z-medium-100"
        )
    return parts[0], parts[1], parts[2], int(parts[3])


def episodes_path(dataset, folder=ROOT / "data"):
    """data/episodes/<source>-<map>-<level>-<ratio>.h5."""
    split(dataset)
    return folder / "episodes" / f"{dataset}.h5"


def draw_sample(dataset, params=None, folder=ROOT / "data"):
    """Sample a raw data set: `sample_episodes` episodes, or the ratio's share of them (nested), seeded.

    Returns (path, sha256). Raises ValueError for a ratio that the paper does not have, DataError for a bad raw file.
    """
    source, map_name, level, ratio = split(dataset)
    if ratio not in RATIOS:
        raise ValueError(f"ratio is {ratio} %; the paper has {RATIOS}")
    data = (params or load_params())["data"]
    raw = sources.raw_path(source, map_name, level, folder / "raw")
    path = episodes_path(dataset, folder)
    chosen = subsample(Episodes.load(raw), data["sample_episodes"] * ratio // 100, data["seed"], sha256(raw))
    return path, chosen.save(path)


def home(profile):
    """The params and the data folder of a profile: data/, or data/smoke/ with the few episodes that smoke proves itself on."""
    params = load_params()
    small = params["profiles"].get(profile, {}).get("data")
    return (params, ROOT / "data") if small is None else ({**params, "data": small}, ROOT / "data" / profile)


def ensure(dataset, params=None, folder=ROOT / "data"):
    """The path of a sampled data set, pulled and sampled first where it is missing or made with other numbers than `params` has."""
    data = (params or load_params())["data"]
    source, map_name, level, ratio = split(dataset)
    raw, path = sources.raw_path(source, map_name, level, folder / "raw"), episodes_path(dataset, folder)
    if not _made_with(raw, data["pull_episodes"], seed=data["seed"]):
        sources.pull(source, map_name, level, data["pull_episodes"], data["seed"], folder / "raw")
    if not _made_with(
        path, data["sample_episodes"] * ratio // 100, sample_seed=data["seed"], parent_sha256=sha256(raw)
    ):
        draw_sample(dataset, params, folder)
    return path


def _made_with(path, episodes, **about):
    """Whether a readable file is there, with so many episodes and these attributes."""
    if not path.exists():
        return False
    try:
        with h5py.File(path, "r") as f:
            return len(f["win"]) == episodes and all(json.loads(f.attrs.get(k, "null")) == v for k, v in about.items())
    except (OSError, KeyError, ValueError):
        return False


def run_cell(
    dataset,
    algorithm,
    variant="default",
    profile="laptop",
    out=None,
    device="auto",
    params=None,
    folder=ROOT / "data",
    progress=True,
):
    """Train, let all snapshots fight, write tidy rows to `out` (CSV). Returns (rows as a DataFrame, Trained, Episodes).

    A row per seed and snapshot (kind "eval"), per seed at the end (kind "final") and for the data set itself (kind
    "data"). Raises ValueError when data and simulator differ, before the first step. The networks
    stay in build/checkpoints/.
    """
    params = params or load_params()
    _, map_name, level, ratio = split(dataset)
    hyper, seeds = settings(params, profile, map_name, level, variant)
    torch.set_num_threads(params["threads"])
    path = episodes_path(dataset, folder)
    data = Episodes.load(path)
    if (data.about["map"], data.about["level"]) != (map_name, level):
        raise ValueError(
            f"{shown(path)} holds {data.about['map']} {data.about['level']}, its name says {map_name} {level}: it was renamed or copied"
        )
    env = f"{data.spec.env}:{data.spec.map}"
    there = make(env, 1).spec
    if there != data.spec:
        raise ValueError(
            f"{shown(path)} is of {data.spec}, the simulator is {there}: this data cannot be fought with here"
        )
    name = f"{dataset}-{algorithm}-{variant}-{profile}"
    checkpoint = BUILD / "checkpoints" / f"{name}.pt"
    trained = train(data, algorithm, hyper, seeds, checkpoint, device, progress)
    rows = [*score(trained, env, hyper, seeds, name if progress else None), data_row(data)]
    about = {
        "env": data.spec.env,
        "map": map_name,
        "level": level,
        "ratio": ratio,
        "algorithm": algorithm,
        "variant": variant,
        "profile": profile,
    }
    table = pd.DataFrame([{**about, **r} for r in rows]).astype({"seed": "Int64", "step": "Int64"})
    table = table[KEYS + SCORES + [c for c in table if c not in KEYS + SCORES]]
    if out is not None:
        write(table, out)
    return table, trained, data


def score(trained, env, hyper, seeds, progress=None):
    """Rows, a list of dicts, of a trained cell: all snapshots of all seeds in one simulator call, then the last ones for longer.

    What a sequential run logged before there was a policy comes first, as kind "value".
    """
    log = [dict(r) for r in trained.log]
    rows = [{**r, "kind": "value"} for r in log if r.pop("phase") == "value"]
    logged = {(r["seed"], r["step"]): r for r in log[len(rows) :]}
    for kind, snapshots, episodes in (
        ("eval", trained.snapshots, hyper.eval_episodes),
        ("final", trained.snapshots[-1:], hyper.final_episodes),
    ):
        fought = np.stack(
            [battle_seeds(EVALUATION[kind], seed, s["step"], shape=(episodes,)) for s in snapshots for seed in seeds]
        )
        got = evaluate(
            env, trained.policy, [s["policy"] for s in snapshots], fought, progress=progress and f"{kind} {progress}"
        )
        for p in range(len(fought)):
            step, seed = snapshots[p // len(seeds)]["step"], seeds[p % len(seeds)]
            rows.append(
                {
                    **logged[seed, step],
                    "kind": kind,
                    "episodes": episodes,
                    "return_mean": got.returns[p].mean(),
                    "return_std": got.returns[p].std(),
                    "win_rate": got.win[p].mean(),
                    "length": got.length[p].mean(),
                }
            )
    return rows


def write(table, out):
    """Write rows as CSV, atomically; the same rows give the same bytes."""
    with atomic(out) as part:
        table.to_csv(part, index=False, float_format="%.6g", lineterminator="\n")


def data_row(data):
    """The data set's own row of the result table: mean, std, win rate and length of its episodes."""
    r = data.returns
    return {
        "algorithm": "data",
        "variant": "",
        "kind": "data",
        "episodes": len(data),
        "return_mean": float(r.mean()),
        "return_std": float(r.std()),
        "win_rate": float(data.win.mean()),
        "length": float(data.lengths.mean()),
    }

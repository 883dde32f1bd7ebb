"""One cell of the study: one algorithm on one data set, all seeds at once, from the file to tidy rows."""

import json

import h5py
import numpy as np
import pandas as pd
import torch

from omac import algorithms, sources
from omac.config import load_params, settings
from omac.envs import fits, make, missing
from omac.episodes import Episodes, sha256, subsample
from omac.evaluation import battle_seeds, evaluate
from omac.paths import BUILD, ROOT, atomic, shown
from omac.training import train

EVALUATION = {"eval": 1, "final": 2}  # first word of those battles' seeds: every algorithm fights the same battles
KEYS = ["env", "map", "level", "ratio", "algorithm", "variant", "profile", "seed", "step", "kind"]
SCORES = ["episodes", "return_mean", "return_std", "win_rate", "length"]
RATIOS = (100, 50, 10)
HELD = "held"  # in place of the ratio: the episodes that are never trained on


def split(dataset):
    """(source, map, level, part): ("smax", "6h_vs_8z", "medium", "100") from "smax-6h_vs_8z-medium-100".

    part: the ratio in %, or "held" for the episodes that are never trained on. Raises ValueError for another form.
    """
    parts = dataset.split("-")
    if len(parts) != 4 or not (parts[3].isdigit() or parts[3] == HELD):
        raise ValueError(
            f"data set {dataset!r} is not <source>-<map>-<level>-<ratio>, for instance smax-6h_vs_8z-medium-100, "
            "or smax-6h_vs_8z-medium-held for the held-out episodes"
        )
    if parts[3] != HELD and int(parts[3]) not in RATIOS:
        raise ValueError(f"ratio is {parts[3]} %; the paper has {', '.join(map(str, RATIOS))}")
    return tuple(parts)


def held_of(dataset):
    """The name of the held-out episodes beside a data set: the same for all its ratios."""
    return "-".join([*split(dataset)[:3], HELD])


def episodes_path(dataset, folder=ROOT / "data"):
    """data/episodes/<source>-<map>-<level>-<ratio>.h5."""
    split(dataset)
    return folder / "episodes" / f"{dataset}.h5"


def _drawn(dataset, data):
    """(episodes, episodes skipped before them) that `dataset` takes of the seeded permutation of its raw file."""
    part = split(dataset)[3]
    if part == HELD:
        return data["held_out_episodes"], data["sample_episodes"]
    return data["sample_episodes"] * int(part) // 100, 0


def draw_sample(dataset, params=None, folder=ROOT / "data"):
    """Sample a raw data set, seeded: `sample_episodes` episodes, the ratio's share of them (nested), or the
    `held_out_episodes` that come after all of them.

    Returns (path, sha256). Raises ValueError for an unknown part or too few episodes, DataError for a bad raw file.
    """
    data = (params or load_params())["data"]
    raw = sources.raw_path(*split(dataset)[:3], folder / "raw")
    path = episodes_path(dataset, folder)
    count, skip = _drawn(dataset, data)
    return path, subsample(Episodes.load(raw), count, data["seed"], sha256(raw), skip).save(path)


def home(profile):
    """The params and the data folder of a profile: data/, or data/smoke/ with the few episodes that smoke proves itself on."""
    params = load_params()
    small = params["profiles"].get(profile, {}).get("data")
    return (params, ROOT / "data") if small is None else ({**params, "data": small}, ROOT / "data" / profile)


def ensure(dataset, params=None, folder=ROOT / "data"):
    """The path of a sampled data set, pulled and sampled first, with its held-out episodes, where it is missing or made
    with other numbers than `params` has.
    """
    params = params or load_params()
    data = params["data"]
    source, map_name, level, _ = split(dataset)
    raw = sources.raw_path(source, map_name, level, folder / "raw")
    fresh = {"seed": data["seed"]} if source == "smax" else {}
    if not _made_with(raw, data["pull_episodes"] if source == "smax" else None, **fresh):
        sources.pull(source, map_name, level, data["pull_episodes"], data["seed"], folder / "raw")
    for name in [dataset, held_of(dataset)] if data["held_out_episodes"] else [dataset]:
        made = {"sample_seed": data["seed"], "parent_sha256": sha256(raw)}
        if not _made_with(episodes_path(name, folder), _drawn(name, data)[0], **made):
            draw_sample(name, params, folder)
    return episodes_path(dataset, folder)


def _made_with(path, episodes, **about):
    """Whether a readable file is there, with so many episodes (None: any number) and these attributes."""
    if not path.exists():
        return False
    try:
        with h5py.File(path, "r") as f:
            same = all(json.loads(f.attrs.get(k, "null")) == v for k, v in about.items())
            return same and len(f["win"]) == (episodes or len(f["win"]))
    except (OSError, KeyError, ValueError):
        return False


def load(dataset, folder=ROOT / "data"):
    """The Episodes of a sampled data set. Raises DataError for a bad file, ValueError for one of another map or level."""
    _, map_name, level, _ = split(dataset)
    path = episodes_path(dataset, folder)
    data = Episodes.load(path)
    if (data.about["map"], data.about["level"]) != (map_name, level):
        raise ValueError(
            f"{shown(path)} holds {data.about['map']} {data.about['level']}, its name says {map_name} {level}: it was renamed or copied"
        )
    return data


def simulator(data, name):
    """(version, reason): what the policies of this data will fight in, or None and why there will be no battles.

    Raises ValueError, naming both, when the simulator is here but is not the one that the data came from.
    """
    env = f"{data.spec.env}:{data.spec.map}"
    reason = missing(env)
    if reason:
        return None, reason
    battle = make(env, 1)
    if not fits(data.spec, battle.spec):
        raise ValueError(
            f"{name} is of {data.spec}, the simulator is {battle.spec}: this data cannot be fought with here"
        )
    return battle.version, ""


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
    "data"). Where the data's simulator is not installed the rows have 0 episodes and no scores, and hold what is known
    offline, of the held-out episodes above all. Raises ValueError when data and simulator differ and for a variant that
    changes nothing for the algorithm, before the first step. The networks stay in build/checkpoints/.
    """
    params = params or load_params()
    _, map_name, level, ratio = split(dataset)
    hyper, seeds = settings(params, profile, map_name, level, variant)
    algorithms.refuse(algorithm, params["variants"][variant] or {})
    torch.set_num_threads(params["threads"])
    data = load(dataset, folder)
    held = load(held_of(dataset), folder) if params["data"]["held_out_episodes"] else None
    version, _ = simulator(data, shown(episodes_path(dataset, folder)))
    name = f"{dataset}-{algorithm}-{variant}-{profile}"
    checkpoint = BUILD / "checkpoints" / f"{name}.pt"
    trained = train(data, algorithm, hyper, seeds, checkpoint, device, progress, held)
    env = f"{data.spec.env}:{data.spec.map}" if version else None
    rows = [*score(trained, env, hyper, seeds, name if progress else None), data_row(data)]
    about = {
        "env": data.spec.env,
        "map": map_name,
        "level": level,
        "ratio": int(ratio),
        "algorithm": algorithm,
        "variant": variant,
        "profile": profile,
    }
    table = pd.DataFrame([{**about, **r, "simulator": version or "none"} for r in rows])
    table = table.astype({"seed": "Int64", "step": "Int64"})
    table = table[KEYS + SCORES + [c for c in table if c not in KEYS + SCORES]]
    if out is not None:
        write(table, out)
    return table, trained, data


def score(trained, env, hyper, seeds, progress=None):
    """Rows, a list of dicts, of a trained cell: all snapshots of all seeds in one simulator call, then the last ones for longer.

    env None: no battles, the rows are the log's alone. What a sequential run logged before there was a policy comes
    first, as kind "value".
    """
    log = [dict(r) for r in trained.log]
    rows = [{**r, "kind": "value"} for r in log if r.pop("phase") == "value"]
    logged = {(r["seed"], r["step"]): r for r in log[len(rows) :]}
    for kind, snapshots, episodes in (
        ("eval", trained.snapshots, hyper.eval_episodes),
        ("final", trained.snapshots[-1:], hyper.final_episodes),
    ):
        fighters = [(s["step"], seed) for s in snapshots for seed in seeds]
        scores = [{"episodes": 0} | dict.fromkeys(SCORES[1:], np.nan)] * len(fighters)
        if env:
            fought = np.stack(
                [battle_seeds(EVALUATION[kind], seed, step, shape=(episodes,)) for step, seed in fighters]
            )
            states = [s["policy"] for s in snapshots]
            scores = _scores(evaluate(env, trained.policy, states, fought, progress=progress and f"{kind} {progress}"))
        for (step, seed), score in zip(fighters, scores, strict=True):
            rows.append({**logged[seed, step], "kind": kind, **score})
    return rows


def _scores(got):
    """The SCORES of each policy, a list of dicts, from evaluation.Scores."""
    return [
        {
            "episodes": len(returns),
            "return_mean": returns.mean(),
            "return_std": returns.std(),
            "win_rate": win.mean(),
            "length": length.mean(),
        }
        for returns, win, length in zip(*got, strict=True)
    ]


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

"""One cell of the study: one algorithm on one data set, all seeds at once, from the file to tidy rows."""

from contextlib import closing

import numpy as np
import pandas as pd
import torch

from omac import algorithms
from omac.config import load_params, settings
from omac.datasets.registry import DataSet, load
from omac.envs import fits, make, missing
from omac.evaluation import battle_seeds, evaluate
from omac.paths import BUILD, ROOT, shown
from omac.schema import KEYS, SCORES, write_csv
from omac.study.machine import machine
from omac.training.trainer import pick_device, train

EVALUATION = {"eval": 1, "final": 2}  # first word of those battles' seeds: every algorithm fights the same battles


def check_simulator(data, name):
    """Why the policies of this data will not fight, in one line: its simulator is not installed here; "" when they will.

    Raises ValueError, naming both, when the simulator is here but is not the one that the data came from.
    """
    env = f"{data.spec.env}:{data.spec.map}"
    reason = missing(env)
    if not reason:
        with closing(make(env, 1)) as battle:
            if not fits(data.spec, battle.spec):
                raise ValueError(
                    f"{name} is of {data.spec}, the simulator is {battle.spec}: this data cannot be fought with here"
                )
    return reason


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
    wanted = DataSet.parse(dataset)
    hyper, seeds = settings(params, profile, wanted.map, wanted.level, variant)
    algorithms.refuse(algorithm, params["variants"][variant] or {})
    torch.set_num_threads(params["threads"])
    data = load(dataset, folder)
    held = load(wanted.held.name, folder) if params["data"]["held_out_episodes"] else None
    fights = not check_simulator(data, shown(wanted.path(folder)))
    name = f"{dataset}-{algorithm}-{variant}-{profile}"
    checkpoint = BUILD / "checkpoints" / f"{name}.pt"
    trained = train(data, algorithm, hyper, seeds, checkpoint, device, progress, held)
    env = f"{data.spec.env}:{data.spec.map}" if fights else None
    rows = [*score(trained, env, hyper, seeds, name if progress else None), data_row(data)]
    about = {
        "env": data.spec.env,
        "map": wanted.map,
        "level": wanted.level,
        "ratio": int(wanted.part),
        "algorithm": algorithm,
        "variant": variant,
        "profile": profile,
    }
    table = pd.DataFrame([{**about, **r} for r in rows]).astype({"seed": "Int64", "step": "Int64"})
    table = table[KEYS + SCORES + [c for c in table if c not in KEYS + SCORES]].assign(
        machine=machine(pick_device(device))
    )
    if out is not None:
        write_csv(table, out)
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
        scores = [{"episodes": 0, **dict.fromkeys(SCORES[1:-1], np.nan), "simulator": "none"}] * len(fighters)
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
            "simulator": got.simulator,
        }
        for returns, win, length in zip(*got[:3], strict=True)
    ]


def data_row(data):
    """The data set's own row of the result table: mean, std, win rate (NaN: unknown) and length of its episodes."""
    r = data.returns
    return {
        "algorithm": "data",
        "variant": "",
        "kind": "data",
        "episodes": len(data),
        "return_mean": float(r.mean()),
        "return_std": float(r.std()),
        "win_rate": data.win_rate,
        "length": float(data.lengths.mean()),
    }

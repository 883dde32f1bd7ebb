"""One cell of the study: one algorithm on one data set, all seeds at once, from the file to tidy rows."""

from contextlib import closing

import numpy as np
import pandas as pd
import torch

from omac import algorithms
from omac.config.hyper import load_params, of_policies, settings
from omac.config.params import check_seeds
from omac.datasets.registry import DataSet, load
from omac.envs import fits, make, missing
from omac.evaluation import battle_seeds, evaluate
from omac.files import write_csv
from omac.paths import BUILD, ROOT, shown
from omac.schema import KEYS, SCORES
from omac.study.machine import machine
from omac.training.trainer import pick_device, train

EVALUATION = {"eval": 1, "final": 2}  # first word of those battles' seeds: every algorithm fights the same battles


def check_simulator(data, name):
    """Say why the policies of this data will not fight: one line, its simulator is not installed. "" when they will.

    Args:
        data: Episodes.
        name: of their file, for the message.
    Raises:
        ValueError: the simulator is here, but is not the one that the data came from.
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


def cell_settings(params, dataset, algorithm, variant="default", profile="laptop", device="auto", temperatures=None):
    """Look at every name of a cell before any work for it.

    Returns:
        (Hyper, {temperature: Hyper of its policy}, [seed, ...])
    Raises:
        ValueError: a name that does not exist, with the nearest; a variant that changes nothing for the algorithm.
    """
    wanted = DataSet.parse(dataset)
    hyper, seeds = settings(params, profile, wanted.map, wanted.level, variant)
    algorithms.refuse(algorithm, params["variants"][variant] or {})
    pick_device(device)
    return hyper, of_policies(params, algorithm, hyper, temperatures), seeds


def checkpoint_path(dataset, algorithm, variant="default", profile="laptop"):
    """Where a cell's networks are kept."""
    return BUILD / "checkpoints" / f"{dataset}-{algorithm}-{variant}-{profile}.pt"


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
    temperatures=None,
    seeds=None,
):
    """Train all seeds of a cell, let their snapshots fight, write tidy rows. The networks stay in build/checkpoints/.

    Args:
        dataset: name of a sampled data set, as smax-6h_vs_8z-medium-100.
        algorithm: its name in the registry.
        variant, profile: names in params.yaml.
        out: path of the CSV, or None to write nothing.
        device: auto, cpu or cuda.
        params: as load_params returns them. Default: params.yaml's.
        folder: the data folder.
        progress: whether to show bars.
        temperatures: which of the algorithm's `temperatures` in params.yaml, a policy each. Default: all.
        seeds: other ones than the profile's.
    Returns:
        (rows as a DataFrame, TrainingResult, the Episodes trained on). A row per seed and snapshot of the values (kind
        "value"), per seed, temperature and snapshot of the policies ("eval"), at the end ("final") and for the data set
        itself ("data"). Where the data's simulator is not installed the rows have 0 episodes and no scores, and hold what
        is known offline, of the held-out episodes above all.
    Raises:
        ValueError: before the first step, when data and simulator differ, or the variant changes nothing for the
            algorithm.
    """
    # the settings and the data
    params = params or load_params()
    wanted = DataSet.parse(dataset)
    hyper, policies, of_profile = cell_settings(params, dataset, algorithm, variant, profile, device, temperatures)
    seeds = of_profile if seeds is None else check_seeds("seeds", seeds)
    torch.set_num_threads(params["threads"])
    data = load(dataset, folder)
    held = load(wanted.held.name, folder) if params["data"]["held_out_episodes"] else None
    fights = not check_simulator(data, shown(wanted.path(folder)))
    # training
    name = f"{dataset}-{algorithm}-{variant}-{profile}"
    checkpoint = checkpoint_path(dataset, algorithm, variant, profile)
    chosen = best_episodes(data, hyper.top_share, hyper.gamma)
    trained = train(chosen, algorithm, hyper, seeds, policies, checkpoint, device, progress, held)
    # battles
    env = f"{data.spec.env}:{data.spec.map}" if fights else None
    rows = [*score(trained, env, hyper, seeds, progress=name if progress else None), data_row(data)]
    # the table
    cell = {"env": data.spec.env, "map": wanted.map, "level": wanted.level, "ratio": int(wanted.part)}
    cell |= {"algorithm": algorithm, "variant": variant, "profile": profile}
    table = pd.DataFrame([{**cell, **row} for row in rows]).astype({"seed": "Int64", "step": "Int64"})
    logged = [column for column in table if column not in KEYS + SCORES]
    table = table.reindex(columns=KEYS + SCORES + logged).assign(machine=machine(pick_device(device)))
    if out is not None:
        write_csv(table, out)
    return table, trained, data


def score(trained, env, hyper, seeds, progress=None):
    """Let all snapshots of all policies fight, in one simulator call, then the last ones for longer.

    Args:
        trained: TrainingResult.
        env: name of the simulator, or None for no battles. The rows are then the log's alone.
        hyper: Hyper. Read are eval_episodes and final_episodes.
        seeds: those trained.
        progress: label of the bars, or None.
    Returns:
        Rows, a list of dicts: what was logged and what was scored. What was logged of values before there was a policy
        comes first, as kind "value"; the last of it stands in the "final" rows too.
    """
    values, finished, logged = [], {}, {}
    for row in trained.log:
        row = dict(row)
        if row.pop("phase") == "value":
            values.append({**row, "kind": "value"})
            finished[row["seed"]] = row
        else:
            logged[row["seed"], row["temperature"], row["step"]] = row

    def rows_of(kind, snapshots, episodes):
        """Return the rows of one kind, a row per snapshot, seed and policy, scored on so many episodes each."""
        fighters = [(s["step"], seed, name) for s in snapshots for seed in seeds for name in trained.temperatures]
        if env is None:
            scores = [not_fought() for _ in fighters]
        else:  # all policies of a seed fight the same battles
            battles = [
                final_battles(seed, episodes)
                if kind == "final"
                else battle_seeds(EVALUATION[kind], seed, step, shape=(episodes,))
                for step, seed, _ in fighters
            ]
            states = [snapshot["policy"] for snapshot in snapshots]
            label = progress and f"{kind} {progress}"
            scores = score_columns(
                evaluate(env, trained.policy, states, np.stack(battles), progress=label, gamma=hyper.gamma)
            )
        return [
            {**(finished.get(seed, {}) if kind == "final" else {}), **logged[seed, name, step], "kind": kind, **columns}
            for (step, seed, name), columns in zip(fighters, scores, strict=True)
        ]

    evaluated = rows_of("eval", trained.snapshots, hyper.eval_episodes)
    final = rows_of("final", trained.snapshots[-1:], hyper.final_episodes)
    return values + evaluated + final


def final_battles(seed, episodes):
    """The battles of the last policies of a seed, uint32 [episodes]: the same for every algorithm, however long it trained."""
    return battle_seeds(EVALUATION["final"], seed, shape=(episodes,))


def not_fought():
    """Return the SCORES of a policy without a simulator: no episodes, no numbers."""
    return {**dict.fromkeys(SCORES, np.nan), "episodes": 0, "simulator": "none"}


def score_columns(scores):
    """Return the SCORES of each policy and its mean discounted return, a list of dicts, from evaluation.Scores."""
    return [
        {
            "episodes": len(returns),
            "return_mean": returns.mean(),
            "return_std": returns.std(),
            "win_rate": win.mean(),
            "length": length.mean(),
            "simulator": scores.simulator,
            "discounted_mean": discounted.mean(),
        }
        for returns, discounted, win, length in zip(*scores[:4], strict=True)
    ]


def best_episodes(data, share, gamma):
    """The share of Episodes with the highest return, at least one; of equal ones the highest discounted return, so the
    fastest win, then the first. Ties are many: a won battle returns 20.
    """
    if share == 1:
        return data
    count = max(1, round(share * len(data)))
    order = np.lexsort((np.arange(len(data)), -data.to_go(gamma)[data.start[:-1]], -data.returns.round(3)))
    return data.select(np.sort(order[:count]))


def data_row(data):
    """Return the data set's own row of the result table: mean, std, win rate (NaN: unknown) and length of its Episodes."""
    returns = data.returns
    return {
        "algorithm": "data",
        "variant": "",
        "kind": "data",
        "episodes": len(data),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "win_rate": data.win_rate,
        "length": float(data.lengths.mean()),
    }

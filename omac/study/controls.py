"""Controls: policies that learn nothing from what agents observe. They tell how much a data set can tell apart.

random: any available action, each as likely. majority: of each agent the action that the data take most often where it has
a choice: a fallen agent can only stop, and says nothing. clock: the same at each time step, so that it sees the time alone.
"""

import numpy as np
import pandas as pd
import torch

from omac.config.hyper import settings
from omac.datasets.registry import DataSet, load
from omac.evaluation import BatchedPolicy, score_battles
from omac.files import write_csv
from omac.paths import ROOT
from omac.schema import CONTROLS, KEYS, PUBLISHED, SCORES
from omac.study.cell import final_battles, score_columns
from omac.study.machine import machine


def action_counts(data):
    """Count how often the data choose each action of several: i64 [H,n,A] of H time steps, up to the longest episode's."""
    spec, (_, row) = data.spec, data.rows()
    t = np.arange(len(data.action)) - np.repeat(data.start[:-1], data.lengths)
    counts = np.zeros((int(data.lengths.max()), spec.n, spec.actions), np.int64)
    chosen = data.avail[row].sum(-1) > 1
    np.add.at(counts, (t[:, None], np.arange(spec.n), data.action), chosen)
    return counts


def acting_by(counts):
    """Make an `act` for `play` that takes the available action of the highest count [H,n,A]; after H steps the last one's."""

    def act(obs, avail, battle_seed, t):
        likely = counts[np.minimum(t, len(counts) - 1)]
        return np.where(avail, likely, -1).argmax(-1)

    return act


def control(name, data, horizon):
    """Make the `act` of a control, a name of schema.CONTROLS, from Episodes."""
    counts = action_counts(data)
    if name == "random":
        n_actions = data.spec.actions
        return BatchedPolicy(lambda obs: torch.zeros(*obs.shape[:3], n_actions), 1, horizon, sample=True)
    return acting_by(counts if name == "clock" else counts.sum(0, keepdims=True))


def control_rows(data, name, hyper, seeds, progress=None):
    """Let a control fight the battles that every algorithm's last policies fight. Returns rows, a dict per seed."""
    battles = np.concatenate([final_battles(seed, hyper.final_episodes) for seed in seeds])[None]
    env = f"{data.spec.env}:{data.spec.map}"
    scores = score_battles(env, lambda horizon: control(name, data, horizon), battles, progress, hyper.gamma)
    of_seeds = scores._replace(**{k: getattr(scores, k).reshape(len(seeds), -1) for k in scores._fields[:-1]})
    about = {"temperature": PUBLISHED, "step": 0, "kind": "final"}
    return [{"seed": seed, **about, **columns} for seed, columns in zip(seeds, score_columns(of_seeds), strict=True)]


def run_controls(dataset, params, profile="laptop", folder=ROOT / "data", progress=True):
    """Score every control on a data set's map and write its rows to results/<dataset>-<control>.csv. Returns the paths."""
    wanted = DataSet.parse(dataset)
    hyper, seeds = settings(params, profile, wanted.map, wanted.level)
    data, paths = load(dataset, folder), []
    for name in CONTROLS:
        cell = {"env": data.spec.env, "map": wanted.map, "level": wanted.level, "ratio": int(wanted.part)}
        cell |= {"algorithm": name, "variant": "default", "profile": profile}
        rows = control_rows(data, name, hyper, seeds, f"{name} {dataset}" if progress else None)
        table = pd.DataFrame([{**cell, **row} for row in rows])[[*KEYS, *SCORES, "discounted_mean"]]
        paths.append(write_csv(table.assign(machine=machine("cpu")), folder / "results" / f"{dataset}-{name}.csv"))
    return paths

"""Curves that the numbers of steps are chosen by: how OMAC's values and cloned policies serve on held-out episodes."""

from dataclasses import replace

import pandas as pd
import torch

from omac import algorithms
from omac.analysis.steps import CLONING_STEPS, EVERY, VALUE_STEPS, is_past_best
from omac.config.hyper import load_params, settings
from omac.datasets.registry import DataSet, load
from omac.files import write_csv
from omac.paths import ROOT
from omac.progress import bar
from omac.study.machine import machine
from omac.training.diagnostics import summarise
from omac.training.trainer import Trainer

SEEDS = (100, 101, 102)  # of these networks: none of the study's own. Cloning takes the first
PROBED = ("q_tot", "return_followed", "q_correlation", "td_error", "adv_std", "w_q")  # columns of the data trained on
OF_HELD = ("q_correlation", "td_error")  # of the held-out episodes: held_<column>


def value_curve(data, held, hyper, progress=None):
    """Train OMAC's values until they are past their best on held-out episodes, VALUE_STEPS steps at most. Returns rows, a
    dict for each seed every EVERY steps.
    """
    trainer, rows = Trainer(data, algorithms.get("omac"), hyper, SEEDS, held=held), []
    with bar(progress, VALUE_STEPS, "step") as shown_bar:
        for step in range(VALUE_STEPS):
            trainer.step(step, "value")
            shown_bar.update()
            if (step + 1) % EVERY == 0:
                known, unknown = trainer.probes()
                for k, seed in enumerate(SEEDS):
                    of_data, of_held = summarise(known, k), summarise(unknown, k)
                    row = {name: of_data[name] for name in PROBED} | {f"held_{name}": of_held[name] for name in OF_HELD}
                    rows.append({"curve": "values", "seed": seed, "step": step + 1, **row})
                if is_past_best(pd.DataFrame(rows)):
                    break
    return rows


def cloning_curve(data, held, hyper, progress=None):
    """Clone with one seed for CLONING_STEPS steps. Returns rows, a dict every EVERY steps, with the held-out log-likelihood."""
    trainer, rows = Trainer(data, algorithms.get("bc"), hyper, SEEDS[:1], held=held), []
    trainer.finish_values()
    with bar(progress, CLONING_STEPS, "step") as shown_bar:
        for step in range(CLONING_STEPS):
            trainer.step(step, "policy")
            shown_bar.update()
            if (step + 1) % EVERY == 0:
                found = trainer.probe_policies(trainer.held_out)
                likelihood = float(found["log_likelihood"][0, 0])
                rows.append({"curve": "cloning", "step": step + 1, "held_log_likelihood": likelihood})
    return rows


def write_curve(dataset, curve, profile="laptop", progress=True):
    """Write a curve of a data set, "values" or "cloning", to data/steps/<dataset>-<curve>.csv. Returns the path."""
    params, wanted = load_params(), DataSet.parse(dataset)
    torch.set_num_threads(params["threads"])
    hyper, _ = settings(params, profile, wanted.map, wanted.level)
    data, label = load(dataset), f"{curve} of {dataset}" if progress else None
    if curve == "values":
        rows = value_curve(data, load(wanted.held.name), replace(hyper, steps=VALUE_STEPS), label)
    else:
        rows = cloning_curve(data, load(wanted.held.name), hyper, label)
    table = pd.DataFrame([{"map": wanted.map, "level": wanted.level, **row} for row in rows])
    return write_csv(table.assign(machine=machine("cpu")), ROOT / "data" / "steps" / f"{dataset}-{curve}.csv")

"""`make bench`: all measurements in one run, printed and written to benchmarks/results.md. Ratios are what can be compared between machines."""

import argparse
import platform
import sys
import time
from pathlib import Path

import costs
import measure
import numpy as np
import pandas as pd
import torch

from omac.analysis.results import markdown
from omac.behaviour import levels
from omac.config.hyper import load_params, of_policies, settings
from omac.datasets import registry
from omac.paths import atomic

DATASET = "smax-6h_vs_8z-medium-100"
OUT, CELLS = (Path(__file__).with_name(name) for name in ("results.md", "cells.csv"))


def table(rows):
    """Rows as Markdown, numbers with three digits."""
    short = [{k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    return markdown(pd.DataFrame(short))


def announce(part):
    """Say what is measured next, and when it began."""
    print(f"{time.strftime('%H:%M:%S')} {part}", file=sys.stderr, flush=True)


def report(profile, cell_steps):
    """All sections, as Markdown text."""
    params = load_params()
    torch.set_num_threads(params["threads"])
    data = registry.load(DATASET)
    hyper, seeds = settings(params, profile, data.spec.map, data.about["level"])
    announce("a gradient step of each algorithm")
    steps = measure.gradient_steps(data, hyper, seeds)
    goes = measure.where_it_goes(data, hyper, seeds)
    announce("the plain implementation; temperatures; seeds and threads")
    peer, by_phase, rounds = measure.against_the_peer(data, registry.DataSet.parse(DATASET).path(), hyper, seeds)
    ratio = float(np.median(rounds))
    policies = of_policies(params, "omac", hyper)
    step = measure.temperatures(data, hyper, seeds, policies)
    further = (step["policies"] - step["policy"]) / (len(policies) - 1)
    laid_out = measure.layouts(data, hyper, seeds)
    announce("battles")
    net, states, _ = levels.load_level("smax", data.spec.map, "good")
    sizes = (hyper.eval_episodes, hyper.final_episodes)
    battles = measure.battles(f"smax:{data.spec.map}", sizes, states[-1:], net)
    announce("training of behaviour policies")
    trained, faster = measure.behaviour_training(data.spec.map)
    announce("a cell")
    cell = measure.phases(DATASET, "omac", profile, cell_steps)
    ours = sum(row["seconds"] for row in cell) / len(seeds)
    plain = costs.plain_cell(hyper, by_phase, len(seeds), cell, battles)
    announce("the whole study, map by map")
    parts = {row["phase"]: row for row in cell}
    once = sum(parts[phase]["seconds"] for phase in ("start-up (imports)", "data", "compiling"))
    snapshot = parts[costs.SNAPSHOTS]["seconds"] * hyper.eval_every / (hyper.steps + hyper.policy_steps)
    speed = measure.side_by_side(params, profile)
    battle = next(row["battle"] for row in speed if row["map"] == data.spec.map)
    prices = {"battle": battle, "once": once, "snapshot": snapshot}
    ways = costs.before_and_after(hyper, len(seeds), len(policies), step, **prices)
    _, one, all_of_them = (row["seconds"] for row in ways)
    grid = costs.cell_seconds(speed, params, profile, costs.planned(params, profile), once, snapshot)
    cells = costs.whole(grid, params["grid"])
    most = max(grid, key=lambda row: row["evaluation"] / row["omac"])
    ran = costs.as_run(grid, pd.read_csv(CELLS), params, profile)
    by_map, as_run = costs.factors(ran), ""
    ratios = [
        ("a step of OMAC's values: share of the matrix product's rate", steps[0]["share"]),
        ("all gradient steps of OMAC, per seed: the plain implementation's time over ours", ratio),
        ("a whole cell of one temperature, per seed: the plain implementation's time over ours", plain / ours),
        ("a further temperature: its policy's step over a step of the values", further / step["value"]),
        ("a further temperature, of the time of OMAC's cell of one", (all_of_them / one - 1) / (len(policies) - 1)),
        ("evaluation, of the time of a cell of one temperature", parts["evaluation"]["share"]),
        (
            f"the same of OMAC's of all temperatures on {most['map']} {most['level']}, where it is largest",
            most["evaluation"] / most["omac"],
        ),
        ("training of behaviour policies: battle-steps per second over the stepwise one's", float(np.median(faster))),
        ("start-up of a cell, s", parts["start-up (imports)"]["seconds"]),
        (f"the whole study, {len(cells)} cells, hours on two cores", costs.hours(cells)),
    ]
    named = {
        "both side by side": step["joint"],
        "the values": step["value"],
        "one policy": step["policy"],
        f"{len(policies)} policies": step["policies"],
        "so a further one": further,
    }
    if set(by_map) == set(params["grid"]["maps"]):  # cells of these steps were run whole on every map
        slow = costs.hours(costs.whole(costs.as_slow(grid, by_map), params["grid"]))
        ratios.append((f"the same, each map as slow as its cells that were run whole ({len(ran)} in all)", slow))
        as_run = f"""
Cells that were run whole, two at a time, papermill's seconds from start to end (`benchmarks/cells.csv`, on another day or hour than the projection):

{table(ran)}

By map, all its seconds as run over all its projected ones: {", ".join(f"{m} {by_map[m]:.2f}" for m in params["grid"]["maps"])}. The whole study as slow as that: {slow:.1f} hours.
"""
    return f"""# Benchmarks

{table([{"": what, "measured": x} for what, x in ratios])}

{DATASET}, profile {profile}: batch {hyper.batch_size}, {data.spec.n} agents, {hyper.hidden} units, {len(seeds)} seeds; torch {torch.__version__.split("+")[0]}, {torch.get_num_threads()} thread, {platform.machine()}. Numbers of a table were
taken in turn, in one run; `share` is FLOPs per second (counted from the shapes) over those of the matrix product beside it.

## A gradient step

{table(steps)}

A step of OMAC's values, by operation:

{table(goes)}

## Seeds and threads

{table(laid_out)}

## Against a plain single-seed implementation

{table(peer)}

For all steps of both the plain one takes {ratio:.2f} times as long per seed (from {rounds.min():.2f} to {rounds.max():.2f} over {measure.ROUNDS} rounds).

## Temperatures

{table([{"a step of": name, "ms per seed-step": x / len(seeds) * 1e3} for name, x in named.items()])}

The same cell in three ways, projected from these steps, {battle:.3g} s a battle and the numbers below:

{table(ways)}

## Battles

{table(battles)}

## Training of behaviour policies

{table(trained)}

One thread. `stepwise` is `benchmarks/stepwise_mappo.py`. Compiling is left out.

## A cell

{table(cell)}

Of one temperature. Per seed {ours:.0f} s. The plain implementation, a process for each seed with the same start-up and battles fought one policy at a time, takes {plain:.0f} s: {plain / ours:.2f} times as long.

## The whole study

Seconds of a gradient step of all seeds and temperatures and of a battle, on one core while another one does the same, from a few of each on every map:

{table(speed)}

Seconds of a cell with all its temperatures, and of the evaluation in OMAC's: the steps of its data set, the snapshots and battles that go with them, and the {once:.0f} s that every cell takes besides (papermill and DVC around it not counted):

{table(grid)}

These data sets with every algorithm, 6h_vs_8z's subsets of 50 % and 10 %, and five ablations on 6h_vs_8z poor: {costs.hours(cells):.1f} hours for these {len(cells)} cells on two cores.
{as_run}"""


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--cell-steps", type=int, default=30, help="a cell is scaled up from twice as many steps")
    args = parser.parse_args()
    text = report(args.profile, args.cell_steps)
    with atomic(OUT) as part:
        part.write_text(text)
    print(text)


if __name__ == "__main__":
    main()

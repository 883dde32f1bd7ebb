"""`make bench`: all measurements in one run, printed and written to benchmarks/results.md. Ratios are what can be compared between machines."""

import argparse
import platform
import sys
import time
from pathlib import Path

import measure
import pandas as pd
import torch

from omac.analysis.results import markdown
from omac.behaviour import levels
from omac.config.hyper import load_params, settings
from omac.datasets import registry
from omac.files import read_table
from omac.paths import ROOT, atomic

DATASET = "smax-6h_vs_8z-medium-100"
RESULTS = ROOT / "data" / "results.csv"
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
    announce("the plain implementation; seeds and threads")
    peer, ratio, spread = measure.against_the_peer(data, registry.DataSet.parse(DATASET).path(), hyper, seeds)
    laid_out = measure.layouts(data, hyper, seeds)
    announce("battles")
    net, states, _ = levels.load_level("smax", data.spec.map, "good")
    sizes = (hyper.eval_episodes, hyper.final_episodes)
    battles = measure.battles(f"smax:{data.spec.map}", sizes, states[-1:], net)
    announce("a cell")
    cell = measure.phases(DATASET, "omac", profile, cell_steps)
    ours = sum(row["seconds"] for row in cell) / len(seeds)
    plain = measure.plain_cell(hyper, ratio, len(seeds), cell, battles)
    announce("the whole study, map by map")
    parts = {row["phase"]: row for row in cell}
    once = sum(parts[phase]["seconds"] for phase in ("start-up (imports)", "data", "compiling"))
    snapshot = parts[measure.SNAPSHOTS]["seconds"] * hyper.eval_every / hyper.steps
    speed = measure.side_by_side(params, profile)
    plan, needed = measure.planned(params, profile), measure.crossed(read_table(RESULTS), profile)
    grid = measure.cell_seconds(speed, params, profile, plan, once, snapshot)
    cells = measure.whole(grid, params["grid"])
    most = max(grid, key=lambda row: row["evaluation"] / row["omac"])
    ran = measure.as_run(grid, pd.read_csv(CELLS))
    by_map, as_run = measure.factors(ran), ""
    ratios = [
        ("a gradient step of OMAC: share of the matrix product's rate", steps[0]["share"]),
        ("a gradient step of OMAC, per seed: the plain implementation's time over ours", ratio),
        ("a whole cell, per seed: the plain implementation's time over ours", plain / ours),
        ("evaluation, of a cell's time", parts["evaluation"]["share"]),
        (
            f"the same of OMAC's on {most['map']} {most['level']}, where it is largest",
            most["evaluation"] / most["omac"],
        ),
        ("start-up of a cell, s", parts["start-up (imports)"]["seconds"]),
        (f"the whole study, {len(cells)} cells, hours on two cores", measure.hours(cells)),
    ]
    if set(by_map) == set(params["grid"]["maps"]):  # cells of these steps were run whole on every map
        slow = measure.hours(measure.whole(measure.as_slow(grid, by_map), params["grid"]))
        ratios.append((f"the same, each map as slow as its cells that were run whole ({len(ran)} in all)", slow))
        as_run = f"""
Cells that were run whole, two at a time, papermill's seconds from start to end (`benchmarks/cells.csv`, on another day or hour than the projection):

{table(ran)}

By map, all its seconds as run over all its projected ones: {", ".join(f"{m} {by_map[m]:.2f}" for m in params["grid"]["maps"])}. The whole study as slow as that: {slow:.1f} hours.
"""
    if set(needed) == set(plan):
        least = measure.whole(measure.cell_seconds(speed, params, profile, needed, once, snapshot), params["grid"])
        ratios.append(
            ("the same, but no step after OMAC's values have crossed the data's returns", measure.hours(least))
        )
    return f"""# Benchmarks

{table([{"": what, "measured": x} for what, x in ratios])}

{DATASET}, profile {profile}: batch {hyper.batch_size}, {data.spec.n} agents, {hyper.hidden} units, {len(seeds)} seeds; torch {torch.__version__.split("+")[0]}, {torch.get_num_threads()} thread, {platform.machine()}. Numbers of a table were
taken in turn, in one run; `share` is FLOPs per second (counted from the shapes) over those of the matrix product beside it.

## A gradient step

{table(steps)}

OMAC's, by operation:

{table(goes)}

## Seeds and threads

{table(laid_out)}

## Against a plain single-seed implementation

{table(peer)}

The plain one takes {ratio:.2f} times as long per seed (from {spread[0]:.2f} to {spread[1]:.2f} over {measure.ROUNDS} rounds).

## Battles

{table(battles)}

## A cell

{table(cell)}

Per seed {ours:.0f} s. The plain implementation, a process for each seed with the same start-up and battles fought one policy at a time, takes {plain:.0f} s: {plain / ours:.2f} times as long.

## The whole study

Seconds of a gradient step of all seeds and of a battle, on one core while another one does the same, from a few of each on every map:

{table(speed)}

Seconds of a cell and of the evaluation in it: the steps of its data set, the snapshots and battles that go with them, and the {once:.0f} s that every cell takes besides (papermill and DVC around it not counted):

{table(grid)}

These data sets with every algorithm, 6h_vs_8z's subsets of 50 % and 10 %, and five ablations on 6h_vs_8z poor: {measure.hours(cells):.1f} hours for these {len(cells)} cells on two cores.
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

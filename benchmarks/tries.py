"""`python benchmarks/tries.py MAP NAME`: train MAPPO once with other settings, or on another map, and add what came of it to
data/tries/<map>.csv. The same command goes on from the last checkpoint.

A try keeps the schedule of the map's own training and is stopped early, so that it can be laid beside another after as many steps.
"""

import argparse
import json
import platform
import resource
from dataclasses import asdict, fields, replace
from multiprocessing import get_context

import pandas as pd
import torch
from gru_actor import take_gru

from omac.analysis.docs_tables import LAST_UPDATES
from omac.behaviour import mappo
from omac.envs import smax_maps
from omac.files import read_table, write_csv
from omac.paths import BUILD, ROOT
from omac.training.checkpoint import read_checkpoint


def train(map_name, seed, settings, simulator, actor, folder):
    """Train MAPPO on a map of `simulator` settings, {name: value}."""
    torch.set_num_threads(1)
    smax_maps.MAP_SETTINGS[map_name] = simulator
    if actor == "gru":
        take_gru()
    mappo.train_mappo(f"smax:{map_name}", seed, settings, folder)


def outcome(name, point, simulator, actor, minutes):
    """The row of a try: what differs from the settings of `Mappo()` and of JaxMARL, and the means over its last updates."""
    curve = pd.DataFrame(point["curve"])
    last = curve.tail(LAST_UPDATES)
    changed = {"actor": "GRU"} if actor == "gru" else {}
    changed |= {k: v for k, v in point["settings"].items() if v != asdict(mappo.Mappo())[k]}
    return {
        "try": name,
        "seed": int(curve["seed"].iloc[0]),
        "settings": json.dumps(changed),
        "simulator": json.dumps(simulator),
        "battle_steps": point["steps"],
        "return": last["return"].mean(),
        "win_rate": last["win_rate"].mean(),
        "entropy": last["entropy"].mean(),
        "core_minutes": minutes,
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
    }


def add(row, path):
    """Write a row in place of what the file said of the same try and seed; the minutes of a try that went on are added up."""
    table = pd.DataFrame([row])
    if path.exists():
        old = read_table(path)
        same = (old["try"] == row["try"]) & (old["seed"] == row["seed"])
        table["core_minutes"] += old.loc[same, "core_minutes"].sum()
        table = pd.concat([old[~same], table])
    return write_csv(table, path)


def main():
    """Train for some minutes, write the row."""
    default = mappo.Mappo()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("map")
    parser.add_argument("name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10, help="of the clock; then the try is stopped")
    parser.add_argument("--actor", choices=("mlp", "gru"), default="mlp")
    parser.add_argument(
        "--simulator", type=json.loads, default={}, help="settings of SMAX that replace the map's own, as JSON"
    )
    for field in fields(default):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default))
    args = parser.parse_args()
    own = mappo.SETTINGS.get(args.map, default)
    asked = {f.name: getattr(args, f.name) for f in fields(default)}
    settings = replace(own, **{k: v for k, v in asked.items() if v is not None})
    simulator = {**smax_maps.settings_of(args.map), **args.simulator}
    folder = BUILD / "tries" / args.name
    work = get_context("spawn").Process(
        target=train, args=(args.map, args.seed, settings, simulator, args.actor, folder)
    )
    work.start()
    work.join(args.minutes * 60)
    work.terminate()
    work.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    point = read_checkpoint(folder / f"smax-{args.map}-{args.seed}.pt")
    row = outcome(args.name, point, simulator, args.actor, (used.ru_utime + used.ru_stime) / 60)
    add(row, ROOT / "data" / "tries" / f"smax-{args.map}.csv")
    print(row)


if __name__ == "__main__":
    main()

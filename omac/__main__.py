"""The command line: python -m omac <command>. Every command is a few lines over a function that notebooks use too."""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path


def positive(text):
    """A whole number above 0, for argparse."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def main(argv=None):
    """Parse, run, return the exit code; bad input ends in one line on stderr and code 1."""
    parser = argparse.ArgumentParser(prog="python -m omac", description="The OMAC companion.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name, run, text, *arguments):
        sub = commands.add_parser(name, help=text, description=text)
        for names, options in arguments:
            sub.add_argument(*names, **options)
        sub.set_defaults(run=run)

    seed = (["--seeds"], {"type": int, "nargs": "+", "default": [0, 1], "help": "training seeds, one process each"})
    steps = (
        ["--battle-steps"],
        {"type": positive, "default": None, "help": "length of the training; default: the map's own, behaviour.MAPS"},
    )
    command(
        "behaviour",
        behaviour,
        "train MAPPO on a SMAX map and keep the snapshots that the levels use",
        (["map"], {}),
        seed,
        steps,
    )
    command(
        "pull",
        pull,
        "make or fetch one raw data set",
        (["source"], {"help": "smax (fought here), or StarCraft II data: odis omiga ogmarl madt cfcql icq own"}),
        (["map"], {}),
        (["level"], {}),
        (["--episodes"], {"type": positive, "default": None, "help": "smax only; default: params.yaml"}),
    )
    command(
        "subsample",
        subsample,
        "draw a seeded sample of a raw data set",
        (["dataset"], {"help": "<source>-<map>-<level>-<ratio>"}),
    )
    command("card", card, "print a data card", (["file"], {"type": Path}))
    command(
        "cards",
        cards,
        "write the committed cards of a map: facts, episodes, states, replays",
        (["files"], {"type": Path, "nargs": "+", "help": "one file a level, of one map"}),
    )
    command("check", check, "say in one line what is wrong with a file", (["file"], {"type": Path}))
    command(
        "code",
        code,
        "write source without comments and outputs, for DVC",
        (["out"], {"type": Path}),
        (["files"], {"nargs": "+"}),
    )
    command(
        "study",
        study,
        "run the cells of dvc.yaml that are left; goes on where it stopped",
        (
            ["names"],
            {"nargs": "*", "help": "items, stages or patterns, such as ablation or 'train@*-bc'; default: all cells"},
        ),
        (["--jobs"], {"type": positive, "default": 2, "help": "cells side by side on this machine; default: 2"}),
        (
            ["--dask"],
            {"metavar": "ADDRESS", "help": "a Dask scheduler's address, or local: JOBS workers on this machine"},
        ),
    )
    command("results", results, "gather the cells' rows into data/results.csv")
    command(
        "weights",
        weights,
        "sample the credit weights of finished networks, for Figure 4; trains them first where they are missing",
        (["dataset"], {"help": "<source>-<map>-<level>-<ratio>"}),
    )
    command("table", table, "print the final scores of a results file", (["file"], {"type": Path}))
    args = parser.parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, OSError, RuntimeError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1


def behaviour(args):
    import torch

    from omac import behaviour, levels

    settings = behaviour.MAPS.get(args.map, behaviour.Mappo())
    settings = replace(settings, battle_steps=args.battle_steps or settings.battle_steps)
    torch.set_num_threads(1)
    if len(args.seeds) == 1:
        behaviour.train(f"smax:{args.map}", args.seeds[0], settings)
        print(
            "one seed is trained; levels need two: run this with all seeds, which takes finished ones from their checkpoints"
        )
        return 0
    env = {**os.environ, "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
    length = ["--battle-steps", str(settings.battle_steps)]
    workers = [
        subprocess.Popen([sys.executable, "-m", "omac", "behaviour", args.map, "--seeds", str(s), *length], env=env)
        for s in args.seeds
    ]
    if sum(w.wait() != 0 for w in workers):
        raise RuntimeError(
            "a training did not end well (see above); the same command resumes it from its last checkpoint"
        )
    points = [behaviour.train(f"smax:{args.map}", s, settings) for s in args.seeds]
    behaviour.save_curve(f"smax:{args.map}", points)
    print(levels.save(f"smax:{args.map}", points))
    return 0


def pull(args):
    from omac.config import load_params
    from omac.paths import shown
    from omac.sources import pull

    data = load_params()["data"]
    path, digest = pull(args.source, args.map, args.level, args.episodes or data["pull_episodes"], data["seed"])
    print(f"{shown(path)}  sha256 {digest}")


def subsample(args):
    from omac.datasets import draw_sample
    from omac.paths import shown

    path, digest = draw_sample(args.dataset)
    print(f"{shown(path)}  sha256 {digest}")


def card(args):
    from omac.cards import text

    print(text(args.file))


def cards(args):
    from omac.cards import write
    from omac.paths import shown

    print("\n".join(map(shown, write(args.files))))


def check(args):
    from omac.envs import fits, make, missing
    from omac.episodes import Episodes
    from omac.paths import shown

    data = Episodes.load(args.file)
    env = f"{data.spec.env}:{data.spec.map}"
    reason = missing(env)
    there = data.spec if reason else make(env, 1).spec
    if not fits(data.spec, there):
        raise ValueError(
            f"{shown(args.file)}: sizes: {data.spec}, but the simulator is {there} (likely cause: another version of the simulator)"
        )
    print(f"{shown(args.file)}: {len(data)} episodes, all checks passed")
    if reason:
        print(f"its sizes were not held against a simulator: {reason}")


def code(args):
    from omac.code import export

    export(args.out, args.files)


def study(args):
    from omac.conduct import run

    return run(args.names, args.jobs, args.dask)


def results(args):
    import pandas as pd

    from omac.config import load_params
    from omac.paths import ROOT, shown
    from omac.results import HEADLINE, arrival, cells, difference, final_table, gather, markdown, weighing

    names = cells(load_params())
    path, absent = gather(ROOT / "data" / "results", names=names)
    print(
        f"{shown(path)}: {len(names) - len(absent)} of {len(names)} cells"
        + "".join(f"\n  not yet run: {name}" for name in absent)
    )
    rows = pd.read_csv(path)
    tables = (final_table(rows)[HEADLINE], difference(rows), weighing(rows), arrival(rows))
    print(*map(markdown, tables), sep="\n\n")


def weights(args):
    from omac import weights
    from omac.config import load_params
    from omac.paths import shown

    params = load_params()
    table = weights.sample(args.dataset, params["profile"], params)
    each = " and ".join(map(str, sorted(set(table.groupby("variant").size()))))
    print(f"{shown(weights.write(table, weights.path(args.dataset)))}: {each} pairs of each variant")


def table(args):
    import pandas as pd

    from omac.results import arrival, final_table, short

    rows = pd.read_csv(args.file)
    table = final_table(rows)
    if "q_tot" in rows:
        print("have the values arrived?", arrival(rows).to_string(index=False), "", sep="\n")
    print(short(table).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())

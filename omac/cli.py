"""The command line: `omac <command>`. Every command is a few lines over a function that notebooks use too."""

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
        (["datasets"], {"nargs": "+", "help": "names, or files (.h5), of one map, one a level"}),
    )
    command("check", check, "say in one line what is wrong with a file", (["file"], {"type": Path}))
    command(
        "code",
        code,
        "write what each stage of dvc.yaml runs, without comments and outputs, to build/code/",
    )
    command(
        "study",
        study,
        "run the cells of cells.yaml that are left; goes on where it stopped",
        (
            ["names"],
            {"nargs": "*", "help": "cells of cells.yaml or patterns, such as '*-bc' or '*-poor-100-*'; default: all"},
        ),
        (["--jobs"], {"type": positive, "default": 2, "help": "cells side by side on this machine; default: 2"}),
        (
            ["--dask"],
            {"metavar": "ADDRESS", "help": "a Dask scheduler's address, or local: JOBS workers on this machine"},
        ),
    )
    command("grid", grid, "write cells.yaml, the cells that dvc.yaml runs, from params.yaml's grid")
    command(
        "notebook",
        notebook,
        "run an analysis notebook in place; its tables and figures go to figures/",
        (["name"], {"help": "such as 04_tables"}),
    )
    command("results", results, "gather the cells' rows into data/results.csv")
    command("tables", tables, "write docs/_generated, the tables of the documentation, and print README's matrix")
    command(
        "weights",
        weights,
        "sample the credit weights of finished networks, for Figure 4; trains them first where they are missing",
        (["dataset"], {"help": "<source>-<map>-<level>-<ratio>"}),
    )
    command(
        "keep",
        keep,
        "keep the last policy of finished cells, one seed, as float16, for `verify`",
        (["cells"], {"nargs": "+", "help": "cells of cells.yaml that were trained on this machine"}),
    )
    command(
        "verify",
        verify,
        "do data, battles and a cell come out here as the authors had them? Ten minutes on two cores",
        (["--jobs"], {"type": positive, "default": 2, "help": "checks side by side; default: 2"}),
    )
    command(
        "table",
        table,
        "print the final scores of a results file, and whether they agree with another's",
        (["file"], {"type": Path}),
        (["--against"], {"type": Path, "metavar": "FILE", "help": "rows of the same cells, to be held against"}),
    )
    args = parser.parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, OSError, RuntimeError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1


def behaviour(args):
    import torch

    from omac.behaviour import levels, mappo

    settings = mappo.SETTINGS.get(args.map, mappo.Mappo())
    settings = replace(settings, battle_steps=args.battle_steps or settings.battle_steps)
    torch.set_num_threads(1)
    if len(args.seeds) == 1:
        mappo.train_mappo(f"smax:{args.map}", args.seeds[0], settings)
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
    points = [mappo.train_mappo(f"smax:{args.map}", s, settings) for s in args.seeds]
    mappo.save_curve(f"smax:{args.map}", points)
    print(levels.save_levels(f"smax:{args.map}", points))
    return 0


def pull(args):
    from omac.config import load_params
    from omac.paths import shown
    from omac.study.prepare import pull

    data = load_params()["data"]
    path, digest = pull(args.source, args.map, args.level, args.episodes or data["pull_episodes"], data["seed"])
    print(f"{shown(path)}  digest {digest.sha256}")


def subsample(args):
    from omac.datasets.registry import draw_sample
    from omac.paths import shown

    path, digest = draw_sample(args.dataset)
    print(f"{shown(path)}  digest {digest.sha256}")


def card(args):
    from omac.datasets.cards import card_text

    print(card_text(args.file))


def cards(args):
    from omac.datasets.cards import read_levels, write_cards
    from omac.paths import shown
    from omac.plots.replay import replays
    from omac.study.prepare import ensure

    parts = read_levels([Path(x) if x.endswith(".h5") else ensure(x) for x in args.datasets])
    print("\n".join(map(shown, [*write_cards(parts), *replays(parts)])))


def check(args):
    from omac.data.episodes import Episodes
    from omac.envs import fits, make, missing
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
    from omac.paths import BUILD
    from omac.training.source_hash import export

    export(BUILD / "code")


def grid(args):
    from omac.paths import shown
    from omac.study.grid import known_cells, write_plan

    path = write_plan()
    print(f"{shown(path)}: {len(known_cells(path))} cells")


def notebook(args):
    from omac.paths import ROOT

    path = ROOT / "notebooks" / f"{args.name}.ipynb"
    if not path.exists():
        there = ", ".join(sorted(f.stem for f in path.parent.glob("*.ipynb")))
        raise ValueError(f"no notebook {args.name!r}; there are {there}")
    words = [
        "jupyter",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        "--inplace",
        "--ExecutePreprocessor.record_timing=False",
    ]
    return subprocess.run(
        [sys.executable, "-m", *words, str(path)], env={**os.environ, "OMAC_FIGURES": "figures"}
    ).returncode


def study(args):
    from omac.study.runner import run

    return run(args.names, args.jobs, args.dask)


def results(args):
    from omac.analysis.results import gather
    from omac.config import load_params
    from omac.paths import ROOT, shown
    from omac.study.grid import result_files

    names = result_files(load_params())
    path, absent = gather(ROOT / "data" / "results", names=names)
    print(f"{shown(path)}: {len(names) - len(absent)} of {len(names)} cells")
    print("".join(f"  not yet run: {name}\n" for name in absent), end="")


def tables(args):
    from omac.analysis.docs_tables import DATA, score_matrix, write_docs_tables
    from omac.analysis.results import markdown
    from omac.datasets.cards import overview
    from omac.paths import shown
    from omac.schema import CARDS, read_rows

    for path in write_docs_tables(overview(CARDS)):
        print(shown(path))
    print("\nREADME.md, What was found:", markdown(score_matrix(read_rows(DATA / "results.csv"))), sep="\n")


def weights(args):
    from omac.analysis import credit_weights
    from omac.config import load_params
    from omac.paths import shown
    from omac.schema import write_csv
    from omac.study import sample_weights

    params = load_params()
    table = sample_weights.sample(args.dataset, params["profile"], params)
    each = " and ".join(map(str, sorted(set(table.groupby("variant").size()))))
    path = write_csv(table, credit_weights.path_of(args.dataset), digits=4)
    print(f"{shown(path)}: {each} pairs of each variant")


def keep(args):
    from omac.config import load_params
    from omac.paths import shown
    from omac.study.grid import known_cells
    from omac.study.policies import keep

    cells, profile = known_cells(), load_params()["profile"]
    for name in args.cells:
        if name not in cells:
            raise ValueError(f"no cell {name!r} in cells.yaml")
        cell = cells[name]
        print(shown(keep(cell["dataset"], cell["algorithm"], cell["variant"], profile)))


def verify(args):
    from omac.analysis.agreement import DIFFERENT
    from omac.study.verify import summary, verify

    findings = verify(args.jobs)
    print(summary(findings))
    return int(any(f.word == DIFFERENT for f in findings))


def table(args):
    from omac.analysis.agreement import DIFFERENT, agreement
    from omac.analysis.results import arrival, final_table, short
    from omac.schema import read_rows

    rows = read_rows(args.file)
    table = final_table(rows)
    if "q_tot" in rows:
        print("have the values arrived?", arrival(rows).to_string(index=False), "", sep="\n")
    print(short(table).to_string(index=False))
    if args.against:
        found = agreement(rows, read_rows(args.against))
        print("", f"beside {args.against}:", found.to_string(index=False), sep="\n")
        return int((found["agreement"] == DIFFERENT).any())
    return 0

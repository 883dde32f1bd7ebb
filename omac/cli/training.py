"""The commands that train: behaviour policies, cells of the study, and what is measured on their networks."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from omac.cli.arguments import A_SAMPLE, MAP_NAMES, positive, seed
from omac.config.params import ALGORITHMS


def add_behaviour(command):
    one = command(behaviour, "train MAPPO on a SMAX map and keep the snapshots that the levels use")
    one.add_argument("map", help=MAP_NAMES)
    one.add_argument("--seeds", type=seed, nargs="+", default=[0, 1], help="training seeds, one process each")
    one.add_argument(
        "--battle-steps",
        type=positive,
        help="length of the training; default: the map's own, SETTINGS in omac/behaviour/mappo.py",
    )


def behaviour(args):
    import torch

    from omac.behaviour import levels, mappo
    from omac.config.names import check_name
    from omac.config.params import check_seeds
    from omac.schema import MAPS

    check_name("map of smax", args.map, MAPS)
    check_seeds("--seeds", args.seeds)
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


def add_train(command):
    one = command(
        train,
        "train one cell, all its seeds, and write its rows: what notebooks/03_train.ipynb runs, omac.study.cell.run_cell",
    )
    one.add_argument("dataset", help=f"{A_SAMPLE}; made first where it is missing")
    one.add_argument("algorithm", help=", ".join(ALGORITHMS))
    one.add_argument("--variant", default="default", help="a name under `variants` in params.yaml; default: default")
    one.add_argument("--profile", help="smoke (a minute), quick, laptop or paper; default: params.yaml's")
    one.add_argument("--seeds", type=seed, nargs="+", help="default: the profile's")
    one.add_argument(
        "--temperature",
        nargs="+",
        metavar="NAME",
        help="names under `temperatures` in params.yaml, a policy each; default: all of the algorithm's",
    )
    one.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>; default: auto")
    one.add_argument("--out", type=Path, metavar="FILE", help="default: build/train/<cell>-<profile>.csv")


def train(args):
    from omac.analysis.results import final_table, short
    from omac.config.hyper import load_params
    from omac.config.names import check_place_of_rows, check_trained_on
    from omac.config.params import check_list, check_seeds
    from omac.paths import BUILD, shown
    from omac.study.cell import cell_settings, run_cell
    from omac.study.prepare import ensure, home

    profile = load_params()["profile"] if args.profile is None else args.profile
    params, folder = home(profile)
    check_trained_on(args.dataset)
    if args.seeds is not None:
        check_seeds("--seeds", args.seeds)
    check_list("--temperature", args.temperature or [])
    cell_settings(params, args.dataset, args.algorithm, args.variant, profile, args.device, args.temperature)
    name = f"{args.dataset}-{args.algorithm}-{args.variant}-{profile}"
    out = args.out or BUILD / "train" / f"{name}.csv"
    check_place_of_rows(out)
    ensure(args.dataset, params, folder)
    chosen = {"temperatures": args.temperature, "seeds": args.seeds}
    rows = run_cell(args.dataset, args.algorithm, args.variant, profile, out, args.device, params, folder, **chosen)[0]
    print(short(final_table(rows)).to_string(index=False))
    print(f"{shown(out)}: {len(rows)} rows, by omac.study.cell.run_cell, as notebooks/03_train.ipynb writes them")


def add_study(command):
    one = command(study, "run the cells of cells.yaml that are not run yet; resumes where it stopped")
    one.add_argument("names", nargs="*", help="cells or patterns, such as '*-bc' or '*-poor-100-*'; default: all")
    one.add_argument("--jobs", type=positive, default=2, help="cells side by side on this machine; default: 2")
    one.add_argument(
        "--dask", metavar="ADDRESS", help="a Dask scheduler's address, or local: JOBS workers on this machine"
    )


def study(args):
    from omac.study.runner import run

    return run(args.names, args.jobs, args.dask)


def add_batch(command):
    one = command(
        batch, "run a list of cells without DVC and papermill, as on a machine without a network; rows as files"
    )
    one.add_argument(
        "cells", nargs="+", help="<dataset>-<algorithm>[-<variant>], as smax-6h_vs_8z-poor-100-omac-tau_05"
    )
    one.add_argument("--out", type=Path, metavar="FOLDER", help="default: build/batch")
    one.add_argument("--profile", help="smoke, quick, laptop, choosing or paper; default: params.yaml's")
    one.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number>; default: auto")
    one.add_argument("--jobs", type=positive, default=2, help="cells side by side; default: 2")


def batch(args):
    from omac.config.hyper import load_params
    from omac.paths import BUILD
    from omac.study.batch import run_batch

    profile = load_params()["profile"] if args.profile is None else args.profile
    return run_batch(args.cells, args.out or BUILD / "batch", profile, args.device, args.jobs)


def add_steps(command):
    one = command(
        steps, "write the held-out curves that set the numbers of steps: of OMAC's values, or of BC's log-likelihood"
    )
    one.add_argument("curve", choices=("values", "cloning"))
    one.add_argument("datasets", nargs="+", help=A_SAMPLE)


def steps(args):
    from omac.config.names import check_trained_on
    from omac.paths import shown
    from omac.study.prepare import ensure
    from omac.study.steps import write_curve

    for dataset in args.datasets:
        check_trained_on(dataset)
    for dataset in args.datasets:
        ensure(dataset)
        print(shown(write_curve(dataset, args.curve)), flush=True)


def add_controls(command):
    one = command(controls, "evaluate a data set's controls: policies that use no observation")
    one.add_argument("datasets", nargs="+", help=A_SAMPLE)
    one.add_argument(
        "--profile", default="laptop", help="a profile of params.yaml, for its seeds and battles; default: laptop"
    )


def controls(args):
    from omac.config.names import check_name, check_trained_on
    from omac.paths import shown
    from omac.study.controls import run_controls
    from omac.study.prepare import ensure, home

    params, folder = home(args.profile)
    check_name("profile", args.profile, params["profiles"])
    for dataset in args.datasets:
        check_trained_on(dataset)
    for dataset in args.datasets:
        ensure(dataset, params, folder)
        print("\n".join(map(shown, run_controls(dataset, params, args.profile, folder))), flush=True)


def add_weights(command):
    one = command(
        weights,
        "sample the credit weights of finished networks, for Figure 4; trains them first where they are missing",
    )
    one.add_argument("dataset", help=A_SAMPLE)


def weights(args):
    from omac.analysis import credit_weights
    from omac.config.hyper import load_params
    from omac.config.names import check_trained_on
    from omac.files import write_csv
    from omac.paths import shown
    from omac.study import sample_weights
    from omac.study.prepare import check_names

    params = load_params()
    check_names(args.dataset)
    check_trained_on(args.dataset)
    table = sample_weights.sample(args.dataset, params["profile"], params)
    each = " and ".join(map(str, sorted(set(table.groupby("variant").size()))))
    path = write_csv(table, credit_weights.path_of(args.dataset), digits=4)
    print(f"{shown(path)}: {each} pairs of each variant")


def add_keep(command):
    one = command(keep, "keep the last policy of finished cells, one seed, as float16, for `verify`")
    one.add_argument("cells", nargs="+", help="cells of cells.yaml that were trained on this machine")


def keep(args):
    from omac.config.hyper import load_params
    from omac.config.names import check_name
    from omac.paths import shown
    from omac.study.grid import known_cells
    from omac.study.policies import keep

    cells, profile = known_cells(), load_params()["profile"]
    for name in args.cells:
        check_name("cell", name, cells, "cells.yaml")
    for cell in map(cells.get, args.cells):
        print(shown(keep(cell["dataset"], cell["algorithm"], cell["variant"], profile)))

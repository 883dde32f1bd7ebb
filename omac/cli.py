"""The command line: `omac <command>`. Every command is a few lines over a function that notebooks use too."""

import argparse
import os
import re
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

CANNOT = {  # what the system says of a file, and what to do
    FileNotFoundError: "does not exist: a misspelt path?",
    IsADirectoryError: "is a folder; a file is needed",
    NotADirectoryError: "cannot be there: a part of the path is a file",
    PermissionError: "may not be read or written here: look at its owner and mode, and whether a program has it open",
}
NAME_SHOWN = 200  # characters of a name in it
ERROR_SHOWN = 2000  # characters of an error
MOST = 10**9  # the largest count that a command takes: more episodes, steps or processes fit no disk and no life
NO_MEMORY = ("can't allocate memory", "out of memory", "RESOURCE_EXHAUSTED", "Unable to allocate")  # torch, JAX, NumPy


def main(argv=None):
    """Parse, run, return the exit code; bad input ends in one line on stderr and code 1, or 2 for words that mean nothing."""
    words = sys.argv[1:] if argv is None else argv
    try:
        args = build_parser().parse_args(words)
        _check_variables()
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("interrupted: the same command begins again, or goes on where it keeps checkpoints", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as e:
        print(f"error: {on_one_line(explain(e, *words[:1]))}", file=sys.stderr)
        return 1


def on_one_line(text):
    """Return what an error says without what would move the cursor, colour the screen or fill it: names and files say anything."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= ERROR_SHOWN else f"{shown[:ERROR_SHOWN]} ..."


def _check_variables():
    from omac.config.names import check_variables

    check_variables()


def explain(error, command="omac"):
    """Say in one line what went wrong and what to do. The story of an error that nobody foresaw goes to build/logs/."""
    text = " ".join(str(error).split())
    try:
        from omac.paths import BUILD, DiskFull, is_full, shown
    except OSError:  # no checkout: that is the error
        return text
    if is_full(error) and not isinstance(error, DiskFull):
        return f"a disk is full ({text}): make room, then run the same command again"
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return f"not enough memory ({text}): end other programs, run fewer side by side (--jobs 1), or take a smaller data set"
    if isinstance(error, OSError) and error.filename and type(error) in CANNOT:
        return f"{shown(error.filename)} {CANNOT[type(error)]}"
    if isinstance(error, OSError) and error.filename and error.strerror and "[Errno" in text:
        return f"{str(error.filename)[:NAME_SHOWN]}: {error.strerror}"
    if isinstance(error, ImportError):
        return f"a package is missing or broken ({text}): `make setup` installs what the lock names"
    if isinstance(error, (ValueError, OSError, RuntimeError)) and text:
        return text
    log = BUILD / "logs" / f"{command}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return f"{type(error).__name__}: {text}: not foreseen; the whole story is in {shown(log)}"


class Parser(argparse.ArgumentParser):
    """Words that mean nothing end in one line and code 2, with the nearest command."""

    def error(self, message):
        """Say what is wrong, and where to read on."""
        from omac.config.names import unknown

        if choice := re.search(r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", message):
            message = unknown(choice[1], choice[2], re.findall(r"[\w-]+", choice[3]))
        self.exit(2, f"error: {' '.join(message.split())}; see `{self.prog} --help`\n")


def positive(text):
    """Return a whole number above 0, for argparse."""
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) == 0 or int(text) > MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0, at most {MOST}")
    return int(text)


def seed(text):
    """Return a seed, a whole number from 0 on, for argparse."""
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no seed, a whole number from 0 on")
    return int(text)


def build_parser():
    """Build the parser of all commands; each sets `run`, the function that it is."""
    from omac.config.params import ALGORITHMS
    from omac.datasets.loaders.catalogue import SOURCES
    from omac.paths import project_version
    from omac.schema import HELD, LEVELS, MAPS, RATIOS

    maps, levels, parts = (", ".join(x) for x in (MAPS, LEVELS, (*RATIOS, HELD)))
    a_map, a_level = f"a map; of SMAX: {maps}", f"a level; of SMAX: {levels}"
    a_sample = f"<source>-<map>-<level>-<part>, such as {MAPS[1]}'s smax-{MAPS[1]}-{LEVELS[1]}-100; parts: {parts}"
    parser = Parser(
        prog="omac" if Path(sys.argv[0]).stem == "omac" else "python -m omac",
        description="The OMAC companion.",
        epilog=f"maps of SMAX: {maps}; levels: {levels}; parts of a data set: {parts} (100, 50 and 10 % of it, {HELD}: never trained on)",
    )
    parser.add_argument("--version", action="version", version=f"omac {project_version()}")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")

    def command(run, text):
        sub = commands.add_parser(run.__name__.rstrip("_"), help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    one = command(behaviour, "train MAPPO on a SMAX map and keep the snapshots that the levels use")
    one.add_argument("map", help=maps)
    one.add_argument("--seeds", type=seed, nargs="+", default=[0, 1], help="training seeds, one process each")
    one.add_argument(
        "--battle-steps", type=positive, help="length of the training; default: the map's own, behaviour.MAPS"
    )

    one = command(pull, "make or fetch one raw data set")
    one.add_argument("source", help=f"smax (fought here), or StarCraft II data: {' '.join(SOURCES)}")
    one.add_argument("map", help=a_map)
    one.add_argument("level", help=a_level)
    one.add_argument("--episodes", type=positive, help="smax only; default: params.yaml")

    one = command(subsample, "draw a seeded sample of a raw data set")
    one.add_argument("dataset", help=a_sample)

    one = command(
        import_, "take what you recorded as a data set: PyMARL's HDF5, a Vault, MADT's pickles, this project's HDF5"
    )
    one.add_argument("file", type=Path, help="a file, a folder of files, or a Vault: its folder or a zip of it")
    one.add_argument("--layout", required=True, help="pymarl, vault, madt or hdf5")
    for name in ("env", "map", "level"):
        one.add_argument(f"--{name}", help="a name; needed where the file does not say it itself")
    one.add_argument(
        "--policies", nargs="+", default=(), help="who acted; needed where the file does not say it itself"
    )
    one.add_argument("--source", default="imported", help="first part of the data set's name; default: imported")

    one = command(export, "write a data set in a layout that others read")
    one.add_argument("dataset", help="<source>-<map>-<level>, with -<part> a sample of it")
    one.add_argument("--layout", required=True, help="vault (OG-MARL's), pymarl (padded HDF5) or hdf5 (this project's)")
    one.add_argument("--out", type=Path, help="where to; default: build/export/")

    one = command(release, "write the archive of all SMAX data sets, with cards, digests, description and checksums")
    one.add_argument("--out", type=Path, help="the zip; default: build/release/")

    one = command(card, "print a data card")
    one.add_argument("file", type=Path)

    one = command(cards, "write the committed cards of a map: facts, episodes, states, replays")
    one.add_argument("datasets", nargs="+", help="names, or files (.h5), of one map, one a level")

    one = command(steps, "write the curves that the numbers of steps follow: of OMAC's values, of cloning's likelihood")
    one.add_argument("curve", choices=("values", "cloning"))
    one.add_argument("datasets", nargs="+", help=a_sample)

    one = command(controls, "score the policies that learn nothing from observations on a data set's map")
    one.add_argument("datasets", nargs="+", help=a_sample)
    one.add_argument("--profile", default="laptop", help="of params.yaml: its seeds and battles; default: laptop")

    one = command(check, "say in one line what is wrong with a file")
    one.add_argument("file", type=Path)

    one = command(
        train,
        "train one cell, all its seeds, and write its rows: what notebooks/03_train.ipynb runs, omac.study.cell.run_cell",
    )
    one.add_argument("dataset", help=f"{a_sample}; made first where it is missing")
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

    command(doctor, "say what is installed and what this machine can run, on one screen")

    command(code, "write what each stage of dvc.yaml runs, without comments and outputs, to build/code/")

    one = command(study, "run the cells of cells.yaml that are left; goes on where it stopped")
    one.add_argument("names", nargs="*", help="cells or patterns, such as '*-bc' or '*-poor-100-*'; default: all")
    one.add_argument("--jobs", type=positive, default=2, help="cells side by side on this machine; default: 2")
    one.add_argument(
        "--dask", metavar="ADDRESS", help="a Dask scheduler's address, or local: JOBS workers on this machine"
    )

    command(grid, "write cells.yaml, the cells that dvc.yaml runs, from params.yaml's grid")

    one = command(notebook, "run an analysis notebook in place; its tables and figures go to figures/")
    one.add_argument("name", help="such as 04_tables")

    command(results, "gather the cells' rows into data/results.csv")

    command(tables, "write docs/_generated, the tables of the documentation, and print README's matrix")

    one = command(
        weights,
        "sample the credit weights of finished networks, for Figure 4; trains them first where they are missing",
    )
    one.add_argument("dataset", help=a_sample)

    one = command(keep, "keep the last policy of finished cells, one seed, as float16, for `verify`")
    one.add_argument("cells", nargs="+", help="cells of cells.yaml that were trained on this machine")

    one = command(verify, "do data, battles and a cell come out here as the authors had them? Ten minutes on two cores")
    one.add_argument("--jobs", type=positive, default=2, help="checks side by side; default: 2")

    one = command(table, "print the final scores of a results file, and whether they agree with another's")
    one.add_argument("file", type=Path)
    one.add_argument("--against", type=Path, metavar="FILE", help="rows of the same cells, to be held against")
    return parser


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


def pull(args):
    from omac.config.hyper import load_params
    from omac.paths import shown
    from omac.study.prepare import pull

    data = load_params()["data"]
    path, digest = pull(args.source, args.map, args.level, args.episodes or data["pull_episodes"], data["seed"])
    print(f"{shown(path)}  digest {digest.sha256}")


def subsample(args):
    from omac.config.hyper import load_params
    from omac.datasets.registry import DataSet, draw_sample
    from omac.paths import shown
    from omac.study.prepare import check_names, fitted

    check_names(args.dataset)
    params, said = fitted(load_params(), DataSet.parse(args.dataset))
    path, digest = draw_sample(args.dataset, params)
    print(f"{shown(path)}  digest {digest.sha256}", *filter(None, [said]), sep="\n")


def import_(args):
    from omac.config.hyper import load_params
    from omac.datasets.importing import Recorded, import_file
    from omac.datasets.registry import DataSet
    from omac.paths import shown
    from omac.study.prepare import fitted

    told = Recorded(args.env, args.map, args.level, tuple(args.policies), args.source)
    name, path, digest = import_file(args.file, args.layout, told)
    print(f"{shown(path)}: {digest.sizes['episodes']} episodes, digest {digest.sha256}")
    sample = name if name.count("-") == 3 else f"{name}-100"
    if said := fitted(load_params(), DataSet.parse(sample))[1]:
        print(said)
    print(
        f"train on it: papermill notebooks/03_train.ipynb build/{sample}.ipynb --cwd notebooks -p dataset {sample} -p profile quick"
    )


def export(args):
    from omac.paths import need_folder, need_place, shown
    from omac.study.publish import export_data

    if args.out:
        (need_folder if args.layout == "vault" else need_place)(args.out)
    path, sha256 = export_data(args.dataset, args.layout, args.out)
    print(f"{shown(path)}  digest {sha256}")


def release(args):
    from omac.paths import need_place, shown
    from omac.study.publish import release_suite

    if args.out:
        need_place(args.out, ".zip")
    print(shown(release_suite(args.out)))


def card(args):
    from omac.datasets.cards import card_text
    from omac.paths import need_file

    need_file(args.file)
    print(card_text(args.file))


def cards(args):
    from omac.datasets.cards import read_levels, write_cards
    from omac.paths import shown
    from omac.plots.replay import replays
    from omac.study.prepare import ensure

    parts = read_levels([Path(x) if x.endswith(".h5") else ensure(x) for x in args.datasets])
    print("\n".join(map(shown, [*write_cards(parts), *replays(parts)])))


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


def controls(args):
    from omac.config.names import check_name
    from omac.paths import shown
    from omac.study.controls import run_controls
    from omac.study.prepare import ensure, home

    params, folder = home(args.profile)
    check_name("profile", args.profile, params["profiles"])
    for dataset in args.datasets:
        ensure(dataset, params, folder)
        print("\n".join(map(shown, run_controls(dataset, params, args.profile, folder))), flush=True)


def check(args):
    from omac.data.episodes import Episodes
    from omac.datasets.digest import check_identity
    from omac.envs import fits, make, missing
    from omac.paths import need_file, shown

    need_file(args.file)
    data = Episodes.load(args.file)
    check_identity(data, shown(args.file))
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


def doctor(args):
    from omac.study.doctor import report

    print(report())


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
    from omac.config.names import check_name
    from omac.paths import ROOT, shown
    from omac.study.pipeline import log_of, reason

    path, log = ROOT / "notebooks" / f"{args.name}.ipynb", log_of(f"notebook-{args.name}")
    check_name("notebook", args.name, sorted(f.stem for f in (ROOT / "notebooks").glob("*.ipynb")))
    words = ["jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
    words += ["--ExecutePreprocessor.record_timing=False", str(path)]
    env = {**os.environ, "OMAC_FIGURES": "figures"}
    with open(log, "w") as out:
        code = subprocess.run([sys.executable, "-m", *words], env=env, stdout=out, stderr=out).returncode
    if code:
        raise RuntimeError(
            f"{shown(path)}: {reason(log.read_text(errors='replace'))}; {shown(log)} has the whole story"
        )


def study(args):
    from omac.study.runner import run

    return run(args.names, args.jobs, args.dask)


def results(args):
    from omac.analysis.results import gather
    from omac.config.hyper import load_params
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
    from omac.files import read_rows
    from omac.paths import shown
    from omac.schema import CARDS

    for path in write_docs_tables(overview(CARDS)):
        print(shown(path))
    print("\nREADME.md, What was found:", markdown(score_matrix(read_rows(DATA / "results.csv"))), sep="\n")


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


def verify(args):
    from omac.analysis.agreement import DIFFERENT
    from omac.study.verify import summary, verify

    findings = verify(args.jobs)
    print(summary(findings))
    return int(any(f.word == DIFFERENT for f in findings))


def table(args):
    from omac.analysis.agreement import DIFFERENT, agreement
    from omac.analysis.results import crossing, final_table, fought, short
    from omac.files import read_rows

    rows = read_rows(args.file)
    table = final_table(rows)
    if "q_tot" in rows:
        print("Q_tot against the returns-to-go in the data:", crossing(rows).to_string(index=False), "", sep="\n")
    if not fought(rows):
        print("no simulator, no battles: offline metrics, of held-out episodes, take the place of scores")
    print(short(table).to_string(index=False))
    if args.against:
        found = agreement(rows, read_rows(args.against))
        print("", f"beside {args.against}:", found.to_string(index=False), sep="\n")
        return int((found["agreement"] == DIFFERENT).any())
    return 0

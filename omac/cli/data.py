"""The commands that make, fetch, convert, describe and check data sets; none trains an algorithm."""

from pathlib import Path

from omac.cli.arguments import A_LEVEL, A_MAP, A_SAMPLE, positive
from omac.datasets.loaders.catalogue import SOURCES


def add_pull(command):
    one = command(pull, "make or fetch one raw data set")
    one.add_argument("source", help=f"smax (simulated here), or StarCraft II data: {' '.join(SOURCES)}")
    one.add_argument("map", help=A_MAP)
    one.add_argument("level", help=A_LEVEL)
    one.add_argument("--episodes", type=positive, help="smax only; default: params.yaml")


def pull(args):
    from omac.config.hyper import load_params
    from omac.paths import shown
    from omac.study.prepare import pull

    data = load_params()["data"]
    path, digest = pull(args.source, args.map, args.level, args.episodes or data["pull_episodes"], data["seed"])
    print(f"{shown(path)}  digest {digest.sha256}")


def add_subsample(command):
    one = command(subsample, "draw a seeded sample of a raw data set")
    one.add_argument("dataset", help=A_SAMPLE)


def subsample(args):
    from omac.config.hyper import load_params
    from omac.datasets.registry import DataSet, draw_sample
    from omac.paths import shown
    from omac.study.prepare import check_names, fitted

    check_names(args.dataset)
    params, said = fitted(load_params(), DataSet.parse(args.dataset))
    path, digest = draw_sample(args.dataset, params)
    print(f"{shown(path)}  digest {digest.sha256}", *filter(None, [said]), sep="\n")


def add_import(command):
    one = command(
        import_, "import recorded episodes as a data set: PyMARL's HDF5, a Vault, MADT's pickles, this project's HDF5"
    )
    one.add_argument("file", type=Path, help="a file, a folder of files, or a Vault: its folder or a zip of it")
    one.add_argument("--layout", required=True, help="pymarl, vault, madt or hdf5")
    for name in ("env", "map", "level"):
        one.add_argument(f"--{name}", help="a name; needed where the file has none")
    one.add_argument(
        "--policies", nargs="+", default=(), help="the behaviour policies; needed where the file does not name them"
    )
    one.add_argument("--source", default="imported", help="first part of the data set's name; default: imported")


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


def add_export(command):
    one = command(export, "write a data set in a layout that others read")
    one.add_argument("dataset", help="<source>-<map>-<level>, with -<part> a sample of it")
    one.add_argument("--layout", required=True, help="vault (OG-MARL's), pymarl (padded HDF5) or hdf5 (this project's)")
    one.add_argument("--out", type=Path, help="output path; default: build/export/")


def export(args):
    from omac.paths import need_folder, need_place, shown
    from omac.study.publish import export_data

    if args.out:
        (need_folder if args.layout == "vault" else need_place)(args.out)
    path, sha256 = export_data(args.dataset, args.layout, args.out)
    print(f"{shown(path)}  digest {sha256}")


def add_release(command):
    one = command(release, "write the archive of all SMAX data sets, with cards, digests, description and checksums")
    one.add_argument("--out", type=Path, help="the zip; default: build/release/")


def release(args):
    from omac.paths import need_place, shown
    from omac.study.publish import release_suite

    if args.out:
        need_place(args.out, ".zip")
    print(shown(release_suite(args.out)))


def add_card(command):
    one = command(card, "print a data card")
    one.add_argument("file", type=Path)


def card(args):
    from omac.datasets.cards import card_text
    from omac.paths import need_file

    need_file(args.file)
    print(card_text(args.file))


def add_cards(command):
    one = command(cards, "write the committed cards of a map: facts, episodes, states, replays")
    one.add_argument("datasets", nargs="+", help="names, or files (.h5), of one map, one a level")


def cards(args):
    from omac.datasets.cards import read_levels, write_cards
    from omac.paths import shown
    from omac.plots.replay import replays
    from omac.study.prepare import ensure

    parts = read_levels([Path(x) if x.endswith(".h5") else ensure(x) for x in args.datasets])
    print("\n".join(map(shown, [*write_cards(parts), *replays(parts)])))


def add_check(command):
    one = command(check, "check a data file, and say in one line what is wrong with it")
    one.add_argument("file", type=Path)


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
        print(f"its sizes were not compared with a simulator: {reason}")

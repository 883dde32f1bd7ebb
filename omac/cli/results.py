"""The commands that turn rows of results into tables, figures and notebooks; none trains."""

import os
import subprocess
import sys
from pathlib import Path


def add_results(command):
    command(results, "gather the cells' rows into data/results.csv")


def results(args):
    from omac.analysis.results import gather
    from omac.config.hyper import load_params
    from omac.paths import ROOT, shown
    from omac.study.grid import result_files

    names = result_files(load_params())
    path, absent = gather(ROOT / "data" / "results", names=names)
    print(f"{shown(path)}: {len(names) - len(absent)} of {len(names)} cells")
    print("".join(f"  not yet run: {name}\n" for name in absent), end="")


def add_tables(command):
    command(tables, "write docs/_generated, the tables of the documentation, and print README's matrix")


def tables(args):
    from omac.analysis.docs_tables import DATA, level_matrix, score_matrix, write_docs_tables
    from omac.analysis.results import markdown
    from omac.datasets.cards import overview
    from omac.files import read_rows
    from omac.paths import shown
    from omac.schema import CARDS

    for path in write_docs_tables(overview(CARDS)):
        print(shown(path))
    print("\nREADME.md, What was found:", markdown(score_matrix(read_rows(DATA / "results.csv"))), sep="\n")
    print("\nREADME.md, Data:", markdown(level_matrix()), sep="\n")


def add_table(command):
    one = command(table, "print the final scores of a results file, and whether they agree with another's")
    one.add_argument("file", type=Path)
    one.add_argument("--against", type=Path, metavar="FILE", help="rows of the same cells, to be compared with")


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


def add_notebook(command):
    one = command(notebook, "run an analysis notebook in place; its tables and figures go to figures/")
    one.add_argument("name", help="such as 04_tables")


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
        raise RuntimeError(f"{shown(path)}: {reason(log.read_text(errors='replace'))}; the log is {shown(log)}")

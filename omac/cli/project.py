"""The commands about the installation and the pipeline: doctor, code, grid, verify."""

from omac.cli.arguments import positive


def add_doctor(command):
    command(doctor, "report what is installed and what this machine can run, on one screen")


def doctor(args):
    from omac.study.doctor import report

    print(report())


def add_code(command):
    command(code, "write what each stage of dvc.yaml runs, without comments and outputs, to build/code/")


def code(args):
    from omac.paths import BUILD
    from omac.training.source_hash import export

    export(BUILD / "code")


def add_grid(command):
    command(grid, "write cells.yaml, the cells that dvc.yaml runs, from params.yaml's grid")


def grid(args):
    from omac.paths import shown
    from omac.study.grid import known_cells, write_plan

    path = write_plan()
    print(f"{shown(path)}: {len(known_cells(path))} cells")


def add_verify(command):
    one = command(verify, "check that data, battles and one cell come out here as committed; ten minutes on two cores")
    one.add_argument("--jobs", type=positive, default=2, help="checks side by side; default: 2")


def verify(args):
    from omac.analysis.agreement import DIFFERENT
    from omac.study.verify import summary, verify

    findings = verify(args.jobs)
    print(summary(findings))
    return int(any(f.word == DIFFERENT for f in findings))

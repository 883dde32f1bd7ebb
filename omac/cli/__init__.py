"""The command line: `omac <command>`. Commands stand in data, training, results and project, by what a person does.

Every command is a few lines over a function that notebooks use too. `add_<command>` says what it takes, the function of
its name runs it.
"""

import os
import sys
import traceback
from pathlib import Path

CANNOT = {  # what the system says of a file, and what to do
    FileNotFoundError: "does not exist: a misspelt path?",
    IsADirectoryError: "is a folder; a file is needed",
    NotADirectoryError: "cannot be there: a part of the path is a file",
    PermissionError: "may not be read or written here: look at its owner and mode, and whether a program has it open",
}
NAME_SHOWN = 200  # characters of a name in it
ERROR_SHOWN = 2000  # characters of an error
NO_MEMORY = ("can't allocate memory", "out of memory", "RESOURCE_EXHAUSTED", "Unable to allocate")  # torch, JAX, NumPy


def main(argv=None):
    """Parse, run, return the exit code; bad input ends in one line on stderr and code 1, or 2 for words that mean nothing."""
    words = sys.argv[1:] if argv is None else argv
    try:
        args = build_parser().parse_args(words)
        _check_variables()
        return args.run(args) or 0
    except KeyboardInterrupt:
        print(
            "interrupted: run the same command again; where it keeps checkpoints it resumes from the last one",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # whoever read our output has ended
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
    """Say in one line what went wrong and what to do. The traceback of an unexpected error goes to build/logs/."""
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
    return f"{type(error).__name__}: {text}: unexpected; the traceback is in {shown(log)}"


def build_parser():
    """Build the parser of all commands, in the order of the help; each sets `run`, the function that it is."""
    from omac.cli import data, project, results, training
    from omac.cli.arguments import LEVEL_NAMES, MAP_NAMES, PART_NAMES, Parser
    from omac.paths import project_version
    from omac.schema import HELD

    parser = Parser(
        prog="omac" if Path(sys.argv[0]).stem == "omac" else "python -m omac",
        description="The OMAC companion.",
        epilog=f"maps of SMAX: {MAP_NAMES}; levels: {LEVEL_NAMES}; parts of a data set: {PART_NAMES} (100, 50 and 10 % of it, {HELD}: never trained on)",
    )
    parser.add_argument("--version", action="version", version=f"omac {project_version()}")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")

    def command(run, text):
        sub = commands.add_parser(run.__name__.rstrip("_"), help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    for add in (
        training.add_behaviour,
        *(data.add_pull, data.add_subsample, data.add_import, data.add_export, data.add_release),
        *(data.add_card, data.add_cards, training.add_steps, training.add_controls, data.add_check),
        *(
            training.add_train,
            project.add_doctor,
            project.add_code,
            training.add_study,
            training.add_batch,
            project.add_grid,
        ),
        *(results.add_notebook, results.add_results, results.add_tables),
        *(training.add_weights, training.add_keep, project.add_verify, results.add_table),
    ):
        add(command)
    return parser

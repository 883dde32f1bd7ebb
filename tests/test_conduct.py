"""The study's runner: which cells are left, failures, interruption, and Dask; on small pipelines of their own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml
from dvc.repo import Repo

import omac
from omac.config import load_params
from omac.datasets import registry
from omac.paths import ROOT
from omac.progress import bar
from omac.study import cell as study
from omac.study import grid as study_grid
from omac.study import pipeline, runner

ROWS = "data/results"
FAKE = """
import sys, time, pathlib
name = pathlib.Path(sys.argv[-1]).stem
if pathlib.Path(f"{name}.breaks").exists():
    raise ValueError(f"{name} is broken")
while pathlib.Path("wait").exists():
    pathlib.Path("waits").touch()
    time.sleep(0.1)
pathlib.Path(sys.argv[-1]).write_text(name)
"""


def checkout(folder, command, names, deps=()):
    """A DVC project in `folder` with a cell for each of `names`, and one stage that is none."""
    Repo.init(str(folder), no_scm=True).close()
    (folder / "pyproject.toml").write_text('[project]\nname = "omac"\n')
    params = {**load_params(), "profile": "tiny"}
    params["profiles"]["tiny"] = {**params["profiles"]["smoke"], "hidden": 16}
    if not (folder / "params.yaml").exists():
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
    about = {"dataset": "toy-line-random-100", "held": "toy-line-random-held", "variant": "default"}
    (folder / "cells.yaml").write_text(
        yaml.safe_dump({"cells": {n: {**about, "algorithm": n} for n in names}}, sort_keys=False)
    )
    out = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["cell"]["do"]["outs"][0]["data/results/${key}.csv"]
    cell = {"cmd": command, "deps": list(deps), "outs": [{f"{ROWS}/${{key}}.csv": out}]}
    stages = {"code": {"cmd": "echo code > code", "outs": ["code"]}, "cell": {"foreach": "${cells}", "do": cell}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"vars": ["cells.yaml"], "stages": stages}))
    (folder / "data" / "results").mkdir(parents=True, exist_ok=True)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A project of three cells that only write their names."""
    checkout(tmp_path, "python cell.py data/results/${key}.csv", ["a", "b", "c"])
    (tmp_path / "cell.py").write_text(FAKE)
    for module in (runner, pipeline):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    return tmp_path


@pytest.mark.slow
def test_a_failed_cell_is_named_and_stops_no_other_and_the_next_run_does_only_what_is_left(fake, capsys):
    (fake / "b.breaks").touch()
    assert runner.run(jobs=2) == 1
    said = capsys.readouterr().out
    assert "cells: 3, up to date: 0, to run: 3" in said and "3 of 3; 0 left" in said
    assert "failed: cell@b: ValueError: b is broken" in said and "cell@b.log" in said and "failed: 1 of 3" in said
    assert "Traceback" in (fake / "build" / "logs" / "cell@b.log").read_text()
    assert (
        (fake / ROWS / "a.csv").read_text() == "a"
        and (fake / ROWS / "c.csv").read_text() == "c"
        and not (fake / ROWS / "b.csv").exists()
    )
    (fake / "b.breaks").unlink()
    (fake / "a.breaks").touch()  # would fail, were it run again
    assert runner.run() == 0 and (fake / ROWS / "b.csv").read_text() == "b"
    assert "cells: 3, up to date: 2, to run: 1" in capsys.readouterr().out
    assert list(pipeline.left(pipeline.cells())) == []


def runs(process):
    """Whether a process is there and has not ended: without an init, an orphan that ended stays as a zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_a_request_to_end_leaves_nothing_running_and_says_how_to_go_on(fake, capsys):
    (fake / "wait").touch()
    under_way = []

    def ask():
        while not (fake / "waits").exists():
            time.sleep(0.1)
        under_way.extend(psutil.Process().children(recursive=True))
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask, daemon=True).start()
    assert runner.run(["cell@a"], jobs=1) == 130
    assert "interrupted: the same command goes on" in capsys.readouterr().out
    assert len(under_way) >= 2 and not any(runs(p) for p in under_way) and not (fake / ROWS / "a.csv").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def held(fake, *words):
    """A process that runs a cell of `fake` until `wait` is removed: `dvc`, or a study, by hand."""
    (fake / "wait").touch()
    env = {**os.environ, "PYTHONPATH": str(Path(omac.__file__).parents[1])}
    child = subprocess.Popen([sys.executable, "-m", *words], cwd=fake, env=env, stdout=subprocess.PIPE, text=True)
    while not (fake / "waits").exists():
        time.sleep(0.1)
    return child


@pytest.mark.slow
def test_a_study_waits_for_another_one_and_says_so_and_neither_fails(fake, capsys):
    other = held(fake, "omac", "study", "--jobs", "1")
    threading.Timer(3, (fake / "wait").unlink).start()
    assert runner.run() == 0
    said = capsys.readouterr().out
    assert f"waiting: another study runs in this checkout (PID {other.pid} on " in said and said.count("waiting") == 1
    assert "cells: 3, up to date: 3, to run: 0" in said
    assert other.wait() == 0 and "FAILED" not in other.stdout.read()


@pytest.mark.slow
def test_a_cell_that_dvc_runs_by_hand_is_waited_for_and_not_run_twice(fake, capsys):
    other = held(fake, "dvc", "repro", "-s", "cell@a")
    threading.Timer(8, (fake / "wait").unlink).start()
    assert runner.run(["a"]) == 0
    said = capsys.readouterr().out
    assert f"waiting: {ROWS}/a.csv is in use by another dvc, PID {other.pid} (" in said
    assert "cells: 1, up to date: 1, to run: 0" in said and other.wait() == 0


@pytest.mark.slow
def test_a_lock_that_a_live_process_holds_is_named_by_it_and_never_to_be_deleted(fake, capsys):
    lock = fake / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(exist_ok=True)
    held_by_us = {"pid": os.getpid(), "cmd": "something"}
    lock.write_text(json.dumps({"write": {str(fake / ROWS / "a.csv"): held_by_us}}))
    with pytest.raises(RuntimeError, match=f"dvc status failed: {ROWS}/a.csv is in use by PID {os.getpid()} ") as error:
        runner.run()
    said = str(error.value)
    assert "wait for it to end, or end it" in said and "\n" not in said
    assert not any(word in said for word in ("remove", "delete", "rwlock"))
    backend = runner.LocalBackend(1)
    backend.submit("cell@a", None)
    while not (ended := backend.poll("cell@a")):
        time.sleep(0.2)
    assert ended.error.startswith(f"{ROWS}/a.csv is in use by PID {os.getpid()} ") and "remove" not in ended.error
    lock.write_text(json.dumps({"write": {str(fake / ROWS / "a.csv"): {**held_by_us, "pid": 2**22 + 1}}}))
    assert runner.run(["a"]) == 0  # DVC itself clears the lock of a process that is gone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("dvc.lock", lambda s: f"    with pytest.raises(RuntimeError, match=r"pip install -e '.\[dask\]'"):
        DaskBackend("local", 2)


def test_workers_that_are_slow_to_end_do_not_make_a_finished_study_fail(monkeypatch):
    distributed = pytest.importorskip("distributed")

    def close():
        closed.append(True)
        raise TimeoutError

    closed = []
    monkeypatch.setattr(distributed, "LocalCluster", lambda **settings: SimpleNamespace(close=close, **settings))
    monkeypatch.setattr(distributed, "Client", nullcontext)
    from omac.study.dask_runner import DaskBackend

    with DaskBackend("local", 3):
        assert not closed
    assert closed


def test_the_whole_study_is_the_papers_113_cells():
    params = load_params()
    grid = params["grid"]
    cells = {
        "table_4": {**grid["cells"]["table_4"], "maps": grid["maps"]},
        "table_1": {**grid["cells"]["table_1"], "maps": ["6h_vs_8z"]},
        "ablations": {**grid["cells"]["ablations"], "levels": ["poor"]},
    }
    names = study_grid.result_files({**params, "grid": {**grid, "cells": cells}})
    assert len(names) == len(set(names)) == 113


def test_cells_yaml_is_what_the_grid_of_params_yaml_says(tmp_path):
    assert study_grid.write_plan(tmp_path / "cells.yaml").read_text() == (ROOT / "cells.yaml").read_text()


def test_a_cell_whose_data_set_is_not_in_the_grid_is_refused():
    params = load_params()
    cells = {"more": {"maps": ["corridor"], "levels": ["good"], "parts": ["10"], "cells": ["bc"]}}
    with pytest.raises(ValueError, match="a cell needs smax-corridor-good-10 and smax-corridor-good-held"):
        study_grid.plan({**params, "grid": {**params["grid"], "cells": cells}})

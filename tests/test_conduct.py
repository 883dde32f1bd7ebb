"""The study's runner: which cells are left, failures, interruption, and Dask; on small pipelines of their own."""

import hashlib
import json
import os
import signal
import socket
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
from omac.config.hyper import load_params
from omac.datasets import registry
from omac.paths import ROOT
from omac.progress import bar
from omac.schema import CONTROLS
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
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
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
        ("dvc.lock", lambda s: f"<<<<<<< HEAD\n{s}", "dvc.lock' is invalid .*git checkout -- dvc.lock"),
        ("dvc.yaml", lambda s: f"<<<<<<< HEAD\n{s}", "dvc.yaml' is invalid .*git checkout -- dvc.yaml"),
        ("dvc.yaml", lambda s: s.replace("${cells}", "${cellz}"), "Could not find 'cellz'.*omac grid"),
        ("params.yaml", lambda s: f"<<<<<<< HEAD\n{s}", "params.yaml, line 1: a mark of an unfinished merge"),
        ("cells.yaml", lambda s: f"{s}=======\n>>>>>>> x\n", "cells.yaml, line \\d+: a mark of an unfinished merge"),
        ("cells.yaml", lambda s: s.replace("cells:", "cellz:"), "cells.yaml: .*'cells' is missing.*omac grid"),
        ("cells.yaml", lambda s: s.replace("variant:", "varient:"), "unknown key 'varient'.*mean variant"),
        (".dvc/tmp/rwlock", lambda s: "{", "when none runs in this checkout any more, delete it"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_file_that_dvc_cannot_read_ends_in_one_line_with_file_and_remedy(fake, name, change, words):
    pipeline.dvc("repro", "-s", "code")
    path = fake / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(change(path.read_text() if path.exists() else ""))
    with pytest.raises((RuntimeError, ValueError), match=words) as error:
        runner.run()
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)


@pytest.mark.slow
def test_a_zip_without_git_is_told_what_to_do(fake):
    (fake / ".dvc" / "config").write_text("")
    with pytest.raises(RuntimeError, match="is not a git repository: without git, run `dvc config core.no_scm true`"):
        runner.run()


@pytest.mark.slow
def test_old_rows_stay_until_the_new_ones_are_there_whatever_ends_the_run(fake, capsys):
    assert runner.run(["a"]) == 0
    old = fake / ROWS / "a.csv"
    old.write_text("a")
    (fake / "cell.py").write_text(FAKE.replace("write_text(name)", "write_text(name * 2)"))
    stages = yaml.safe_load((fake / "dvc.yaml").read_text())
    stages["stages"]["cell"]["do"]["deps"] = ["cell.py"]
    (fake / "dvc.yaml").write_text(yaml.safe_dump(stages))
    killed = held(fake, "dvc", "repro", "-s", "cell@a")
    assert old.read_text() == "a"  # under way
    for process in [*psutil.Process(killed.pid).children(recursive=True), killed]:
        process.kill()
    killed.wait()
    assert old.read_text() == "a" and list(pipeline.left(pipeline.cells())) == ["cell@a", "cell@b", "cell@c"]
    (fake / "wait").unlink()
    (fake / "a.breaks").touch()
    assert runner.run(["a"]) == 1 and old.read_text() == "a"
    (fake / "a.breaks").unlink()
    assert runner.run(["a"]) == 0 and old.read_text() == "aa"
    assert list(pipeline.left(pipeline.cells())) == ["cell@b", "cell@c"]
    (fake / "cell.py").write_text(FAKE)  # a dependency that changes runs the cell again
    assert list(pipeline.left(pipeline.cells())) == ["cell@a", "cell@b", "cell@c"]
    assert runner.run(["a"]) == 0 and old.read_text() == "a"


def test_what_takes_long_is_not_removed_before_it_is_made_again():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name in ("cell", "weights", "behaviour", "results"):
        outs = stages[name].get("do", stages[name])["outs"]
        assert all(options["persist"] is True for out in outs for options in out.values()), name


@pytest.mark.slow
def test_cells_yaml_that_is_not_the_grids_is_said(fake, capsys):
    assert runner.run(["a"]) == 0
    assert "note: cells.yaml is not what params.yaml's grid says: `python -m omac grid`" in capsys.readouterr().out


def test_signals_that_a_system_does_not_have_are_left_out(monkeypatch):
    monkeypatch.delattr(signal, "SIGHUP")
    with runner.terminable():
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_cells_are_started_as_others_end_and_the_time_to_expect_is_the_mean_of_theirs(monkeypatch, capsys):
    monkeypatch.setattr(runner, "PAUSE", 0)
    under_way, side_by_side = {}, []

    class Backend:
        width = most = 2

        def submit(self, item, cell):
            under_way[item] = iter([None, pipeline.Ended(600, "broke" if item == "b" else "")])
            side_by_side.append(len(under_way))

        def poll(self, item):
            ended = next(under_way[item])
            if ended:
                del under_way[item]
            return ended

    progress = bar(None, 6, "cell", 1)
    assert runner.conduct(dict.fromkeys("abcde"), Backend(), progress) == {"b": "broke"}
    said = capsys.readouterr().out.splitlines()
    assert max(side_by_side) == 2 and len(side_by_side) == len(said) == 5
    assert said[0] == "done    a  10 min  (1 of 5; 4 left, about 20 min)" and said[1].startswith("FAILED  b  10 min")
    assert said[3].endswith("(4 of 5; 1 left, about 10 min)") and said[4].endswith("(5 of 5; 0 left)")


def test_the_cells_of_the_pipeline_are_the_ones_that_the_tables_are_made_of():
    known, params = pipeline.cells(), load_params()
    of_cells, of_controls = [Path(cell["out"]).name for cell in known.values()], []
    for name in study_grid.plan(params)["controls"]:
        of_controls += [f"{name}-{control}.csv" for control in CONTROLS]
    assert of_cells + of_controls == study_grid.result_files(params)
    outs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["controls"]["do"]["outs"]
    assert [path for out in outs for path in out] == [f"{ROWS}/${{key}}-{control}.csv" for control in CONTROLS]
    assert all(set(cell) == {"dataset", "algorithm", "variant", "profile", "out"} for cell in known.values())


def test_names_mean_items_stages_or_patterns_and_an_unknown_one_is_named():
    known = dict.fromkeys(["cell@m-good-bc", "cell@m-poor-omac", "cell@m-omac-maxq"], {})
    assert list(pipeline.choose_cells(known, [])) == list(known)
    assert list(pipeline.choose_cells(known, ["*-maxq", "cell@*-bc"])) == ["cell@m-good-bc", "cell@m-omac-maxq"]
    with pytest.raises(ValueError, match="unknown cell or pattern 'm-god-bc'.*m-good-bc"):
        pipeline.choose_cells(known, ["m-god-bc"])


def test_the_reason_of_a_failure_is_the_exception_and_else_what_dvc_says():
    dvcs = "failed to reproduce 'cell@a': failed to run: false, exited with 1"
    assert pipeline.reason(f"WARNING: killed\nRunning stage 'cell@a':\n> false\nERROR: {dvcs}\n") == dvcs
    assert pipeline.reason(f"> x\nTraceback\nDiverged: L_pi is nan\n\nERROR: {dvcs}") == "Diverged: L_pi is nan"
    long = "RuntimeError: Error(s) in loading:\n\tsize mismatch for pi"
    assert (
        pipeline.reason(f"> x\nTraceback\n{long}\nERROR: {dvcs}")
        == "RuntimeError: Error(s) in loading: size mismatch for pi"
    )
    coloured = "\x1b[31mTypeError\x1b[39m: first\nx\n\x1b[31mValueError\x1b[39m: `tau` is 2\n"
    assert pipeline.reason(f"Traceback\n{coloured}") == "ValueError: `tau` is 2"
    assert "--jobs 1" in pipeline.reason(f"> x\nERROR: {dvcs[:-1]}-9")
    assert "--jobs 1" in pipeline.reason("> x\nTraceback\nnbclient.exceptions.DeadKernelError: Kernel died\n")
    assert [runner.spell(s) for s in (45, 1260, 12_000)] == ["45 s", "21 min", "3 h 20 min"]


@pytest.fixture
def small(toy, tmp_path):
    """(params, data folder) of a small data set of the toy, in a project of its own."""
    params = load_params()
    params["data"] = {"pull_episodes": 300, "sample_episodes": 200, "held_out_episodes": 100, "seed": 0}
    params["profiles"]["tiny"] = {**params["profiles"]["smoke"], "hidden": 16, "data": params["data"]}
    params["profile"] = "tiny"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    folder = tmp_path / "data" / "tiny"
    toy.save(registry.DataSet.parse("toy-line-random-100").raw_path(folder))
    for part in ("100", "held"):
        registry.draw_sample(f"toy-line-random-{part}", params, folder)
    return params, folder


@pytest.mark.slow
def test_two_dask_workers_give_the_bytes_of_the_serial_run_and_dvc_records_them(small, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    files = [f"data/tiny/digests/toy-line-random-{part}.txt" for part in ("100", "held")]
    checkout(tmp_path, "papermill ${key}", ["omac", "bc", "omax"], files)
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(omac.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    words = [sys.executable, "-m", "omac", "study", "--dask", "local"]
    run = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    said = run.stdout + run.stderr
    assert run.returncode == 1 and "failed: cell@omax: ValueError: unknown algorithm 'omax'" in said, said
    monkeypatch.setattr(study, "BUILD", tmp_path / "serial")
    for name in ("omac", "bc"):
        study.run_cell("toy-line-random-100", name, "default", "tiny", tmp_path / "s", "auto", *small, progress=False)
        assert (tmp_path / ROWS / f"{name}.csv").read_bytes() == (tmp_path / "s").read_bytes()
        recorded = yaml.safe_load((tmp_path / "dvc.lock").read_text())["stages"][f"cell@{name}"]["outs"][0]["md5"]
        assert recorded == hashlib.md5((tmp_path / "s").read_bytes()).hexdigest()


def test_a_worker_with_other_code_other_data_or_several_threads_refuses(small, monkeypatch):
    distributed = pytest.importorskip("distributed")
    from omac.study import dask_runner

    params, folder = small
    cell = {"dataset": "toy-line-random-100", "algorithm": "bc", "profile": "tiny", "out": "bc.csv"}
    monkeypatch.setattr(dask_runner, "home", lambda profile: (params, folder))
    data, _ = dask_runner.data_of(cell)

    def refuses(reason, threads=1, data=data, ours=dask_runner.package()):  # noqa: B008
        monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(state=SimpleNamespace(nthreads=threads)))
        with pytest.raises(ValueError, match=reason):
            dask_runner.work(cell, params, data, ours)

    refuses("start it with --nthreads 1", threads=2)
    refuses("other code or libraries", ours="another")
    refuses("toy-line-random-100 is another data set", data=dict.fromkeys(data, "0"))
    registry.digest_path("toy-line-random-held", folder).unlink()
    with pytest.raises(ValueError, match="toy-line-random-held.txt is not here"):
        dask_runner.data_of(cell)


def test_dask_that_is_misspelt_or_not_installed_is_refused_with_the_remedy(monkeypatch):
    from omac.study import dask_runner
    from omac.study.dask_runner import DaskBackend

    for address in ("locl", "", "tcp://", "tcp://h:99999", "tcp://h:port", "tcp://h:0", "h:8786", "tcp:// h:1"):
        with pytest.raises(ValueError, match=f"--dask is '{address}'; it takes local, or"):
            runner.run(dask=address)
    for address in ("local", "tcp://host:8786", "tls://10.0.0.1:1", "tcp://[::1]:8786", "ucx://host"):
        dask_runner.check_address(address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RuntimeError, match=r"pip install -e '.\[dask\]'"):
        DaskBackend("local", 2)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["silent", "another server", "nothing", "no such way"])
def test_a_scheduler_that_does_not_answer_ends_in_one_line_and_in_time(what, monkeypatch):
    """Dask itself waits for ever for the first, and asks for exabytes of memory for the answer of the second."""
    pytest.importorskip("distributed")
    from omac.study import dask_runner

    monkeypatch.setattr(dask_runner, "ANSWERED_WITHIN", 5)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}" if what != "no such way" else "foo://127.0.0.1:1"
        if what in ("silent", "another server"):
            server.listen(5)
        if what == "another server":
            threading.Thread(
                target=lambda: server.accept()[0].sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), daemon=True
            ).start()
        begun = time.monotonic()
        with pytest.raises(OSError, match=f"--dask {address}: no Dask scheduler answers there within 5 s") as error:
            dask_runner.DaskBackend(address, 2)
    assert time.monotonic() - begun < 60 and "\n" not in str(error.value)


def test_a_scheduler_without_workers_or_that_has_gone_is_said_once(monkeypatch, capsys):
    pytest.importorskip("distributed")
    from omac.study import dask_runner

    def gone():
        raise OSError("ConnectionPool closing.")

    monkeypatch.setattr(dask_runner, "ANSWERED_WITHIN", 0)
    monkeypatch.setattr(dask_runner, "connect", lambda address: nullcontext(client))
    for there, said in (({}, 1), ({"a": 1}, 0), (None, 1)):
        client = SimpleNamespace(nthreads=gone if there is None else lambda there=there: there)
        with dask_runner.DaskBackend("tcp://x:1", 2) as backend:
            backend.under_way["cell@a"] = {}, SimpleNamespace(done=lambda: False)
            assert [backend.poll("cell@a") for _ in range(3)] == [None] * 3
            assert backend.width == len(there or ())
        assert capsys.readouterr().out.count("waiting: the scheduler has no workers; start them with") == said


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
    """Table 4's algorithms on every data set, Table 1's on two subsets each of 6h_vs_8z, Figure 3's ablations on its poor data."""
    params = load_params()
    grid, parts = params["grid"], params["grid"]["cells"]
    papers = ["omac", "icq", "omar", "bcq", "cql", "bc"]
    cells = {
        "table_4": {**parts["table_4"], "maps": grid["maps"], "levels": grid["levels"], "cells": papers},
        "table_1": {**parts["table_1"], "maps": ["6h_vs_8z"], "cells": papers},
        "ablations": {**parts["ablations"], "maps": ["6h_vs_8z"], "levels": ["poor"], "cells": grid["ablations"]},
    }
    assert set(parts["table_4"]["cells"]) <= set(papers) < set(parts["table_1"]["cells"])
    assert set(parts["ablations"]["cells"]) <= set(grid["ablations"])
    names = study_grid.result_files({**params, "grid": {**grid, "cells": cells, "controls": []}})
    assert len(names) == len(set(names)) == 113


def test_cells_yaml_is_what_the_grid_of_params_yaml_says(tmp_path):
    assert study_grid.write_plan(tmp_path / "cells.yaml").read_text() == (ROOT / "cells.yaml").read_text()


def test_a_cell_whose_data_set_is_not_in_the_grid_is_refused():
    params = load_params()
    cells = {"more": {"maps": ["corridor"], "levels": ["good"], "parts": ["10"], "cells": ["bc"]}}
    with pytest.raises(ValueError, match="a cell needs smax-corridor-good-10 and smax-corridor-good-held"):
        study_grid.plan({**params, "grid": {**params["grid"], "cells": cells}})


def test_a_change_of_the_temperatures_runs_the_cells_again():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert {"open_points", "temperatures", "steps.${item.map}.${item.level}"} <= set(stages["cell"]["do"]["params"])

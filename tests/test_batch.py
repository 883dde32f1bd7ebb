"""A list of cells without DVC and papermill."""

import os
import subprocess
import sys

import pytest

from omac.cli import main
from omac.files import read_rows
from omac.paths import ROOT
from omac.study import batch, runner

CELLS = ["smax-6h_vs_8z-poor-100-bc", "smax-6h_vs_8z-poor-100-bc-top_10"]


def test_a_cells_name_is_its_data_set_algorithm_and_variant():
    assert batch.parse_cell(CELLS[0]) == {"dataset": CELLS[0][:-3], "algorithm": "bc", "variant": "default"}
    assert batch.parse_cell(CELLS[1])["variant"] == "top_10"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["bc"], "names no cell: write <dataset>-<algorithm>"),
        (["smax-6h_vs_8z-poor-held-bc"], "held"),
        ([CELLS[0], "smax-6h_vs_8z-poor-100-omak"], "did you mean omar or omac"),
        (["smax-6h_vs_8z-poor-100-bc-tau_05"], "tau"),
    ],
)
def test_a_name_that_means_nothing_is_refused_before_any_work(tmp_path, monkeypatch, capsys, names, words):
    monkeypatch.setattr(batch, "ensure", lambda *_: pytest.fail("work was begun"))
    assert main(["batch", *names, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_rows_that_are_there_stay_and_a_failed_cell_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / f"{CELLS[0]}.csv").write_text("rows")
    begun = []

    class Backend(runner.LocalBackend):
        def __init__(self, jobs, words):
            def stand_in(item, cell):
                begun.append(words(item, cell)[1:])
                return [sys.executable, "-c", "raise ValueError('it does not fit')"]

            super().__init__(jobs, stand_in)

    monkeypatch.setattr(batch, "ensure", lambda *_: None)
    monkeypatch.setattr(batch, "LocalBackend", Backend)
    assert batch.run_batch(CELLS, tmp_path, "smoke", "cpu", 1) == 1
    said = capsys.readouterr().out
    assert (
        "cells: 2, rows are there: 1, to run: 1" in said and f"failed: {CELLS[1]}: ValueError: it does not fit" in said
    )
    (words,) = begun
    assert words[2:] == [
        *("train", CELLS[1].removesuffix("-bc-top_10"), "bc", "--variant", "top_10", "--profile", "smoke"),
        *("--device", "cpu", "--out", str(tmp_path / f"{CELLS[1]}.csv")),
    ]
    assert (tmp_path / f"{CELLS[0]}.csv").read_text() == "rows"


@pytest.mark.slow
def test_a_batch_writes_the_rows_of_its_cells_where_neither_dvc_nor_papermill_can_be_imported(tmp_path):
    """Both names are packages that raise when they are imported."""
    for name in ("dvc", "papermill"):
        (tmp_path / "away" / name).mkdir(parents=True)
        (tmp_path / "away" / name / "__init__.py").write_text("raise ImportError('not here')")
    words = [sys.executable, "-m", "omac", "batch", *CELLS, "--profile", "smoke", "--device", "cpu"]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path / 'away'}:{ROOT}"}
    done = subprocess.run([*words, "--out", str(tmp_path)], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in CELLS:
        rows = read_rows(tmp_path / f"{name}.csv")
        assert set(rows["kind"]) == {"eval", "final", "data"} and set(rows["profile"]) == {"smoke"}

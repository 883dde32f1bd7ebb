"""The benchmark's arithmetic: what it makes of the times that it measured."""

import json
import sys

import pandas as pd
import pytest

from omac.algorithms import REGISTRY
from omac.config.hyper import load_params, settings
from omac.files import read_table, write_csv
from omac.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import cells  # noqa: E402
import measure  # noqa: E402


@pytest.fixture
def params():
    """Two data sets: twenty steps with four snapshots on good, ten with two on poor; five battles each, ten at the end."""
    p = load_params()
    tiny = {"steps": 10, "eval_every": 5, "eval_episodes": 5, "final_episodes": 10, "seeds": [0, 1]}
    p["profiles"]["tiny"] = {**p["profiles"]["smoke"], **tiny}
    p["steps"] = {"6h_vs_8z": {"good": {"tiny": 20}}}
    p["grid"] = {**p["grid"], "maps": ["6h_vs_8z"], "levels": ["good", "poor"]}
    return p


STEPS = {("6h_vs_8z", "good"): 20, ("6h_vs_8z", "poor"): 10}
SPEED = [{"map": "6h_vs_8z", "battle": 0.5, **{name: i + 1.0 for i, name in enumerate(REGISTRY)}}]


def test_a_cell_is_its_data_sets_steps_the_snapshots_and_battles_that_go_with_them_and_what_every_cell_takes(params):
    good, poor = measure.cell_seconds(SPEED, params, "tiny", STEPS, once=3.0, snapshot=2.0)
    assert (good["steps"], good["evaluation"]) == (20, 2 * (4 * 5 + 10) * 0.5) and poor["steps"] == 10
    for i, name in enumerate(REGISTRY):
        assert good[name] == 3 + 4 * 2 + 2 * (4 * 5 + 10) * 0.5 + 20 * (i + 1)
        assert poor[name] == 3 + 2 * 2 + 2 * (2 * 5 + 10) * 0.5 + 10 * (i + 1)


def test_the_whole_study_is_113_cells_and_its_hours_fill_two_cores():
    p = load_params()
    rows = [
        {"map": m, "level": level, **dict.fromkeys(REGISTRY, 60.0)}
        for m in p["grid"]["maps"]
        for level in p["grid"]["levels"]
    ]
    next(row for row in rows if (row["map"], row["level"]) == ("6h_vs_8z", "poor"))["omac"] = 100.0
    spent = measure.whole(rows, p["grid"])
    assert len(spent) == 113 and spent.count(100.0) == 3 + 5  # whole, two subsets; five ablations
    assert measure.hours(spent) == pytest.approx((105 * 60 + 8 * 100) / 2 / 3600)


def test_steps_are_params_yamls_or_those_at_which_omacs_values_cross(params):
    assert measure.planned(params, "tiny") == STEPS
    base = {"map": "m", "ratio": 100, "algorithm": "omac", "variant": "default", "profile": "tiny", "kind": "eval"}
    base |= {"seed": 0, "return_followed": 5.0}
    rows = [
        {**base, "level": level, "step": t, "q_tot": q * t} for level, q in (("good", 3), ("poor", 1)) for t in (1, 2)
    ]
    rows += [{**row, "ratio": 10, "q_tot": 9.0} for row in rows] + [
        {**row, "profile": "quick", "q_tot": 9.0} for row in rows
    ]
    assert measure.crossed(pd.DataFrame(rows), "tiny") == {("m", "good"): 2}  # poor never crosses


def test_params_yamls_steps_are_a_thousand_past_the_crossing_of_omacs_values_and_4000_at_least():
    params, rows = load_params(), read_table(ROOT / "data" / "results.csv")
    plan, needed = measure.planned(params, "laptop"), measure.crossed(rows, "laptop")
    assert {name for name, _ in set(plan) - set(needed)} == {"corridor"}  # its cells wait for the study
    more = {d: plan[d] - max(4000, needed[d] + 1000) for d in needed}
    assert {d: x for d, x in more.items() if x} == {("6h_vs_8z", "poor"): 3000}  # docs/steps.md says so


def test_whole_cells_are_held_against_their_projection_at_the_same_steps_alone(params):
    rows = measure.cell_seconds(SPEED, params, "tiny", STEPS, once=3.0, snapshot=2.0)
    ran = [("good", "omac", "default", 20), ("poor", "omac", "default", 20), ("good", "omac", "maxq", 20)]
    measured = pd.DataFrame(ran, columns=["level", "algorithm", "variant", "steps"]).assign(map="6h_vs_8z", seconds=123)
    (row,) = measure.as_run(rows, measured)
    assert (row["level"], row["projected"], row["ratio"]) == ("good", rows[0]["omac"], 123 / rows[0]["omac"])
    ran = [{**row, "as run": 30, "projected": 10}, {**row, "as run": 10, "projected": 10}]
    by_map = measure.factors([*ran, {"map": "other", "as run": 3, "projected": 2}])
    assert by_map == {"6h_vs_8z": 2, "other": 1.5} and measure.factors([]) == {}
    slow, _ = measure.as_slow(rows, by_map)
    assert slow["steps"] == 20 and slow["bc"] == 2 * rows[0]["bc"]


def test_the_plain_cell_shares_what_no_layout_changes_and_fights_one_policy_at_a_time():
    hyper, _ = settings(load_params(), "smoke")  # two snapshots of 4 battles, 8 at the end
    phases = {
        "start-up (imports)": 5.0,
        "data": 1.0,
        "compiling": 2.0,
        measure.TRAINING: 100.0,
        measure.SNAPSHOTS: 50.0,
    }
    fought = [
        {"battles side by side": 4, "battles per second": 2.0},
        {"battles side by side": 8, "battles per second": 1.0},
    ]
    rows = [{"phase": k, "seconds": v} for k, v in phases.items()]
    assert measure.plain_cell(hyper, 2.0, 5, rows, fought) == (5 + 1 + 2) + 2 * 100 / 5 + (2 * 2 + 8)


@pytest.mark.slow
def test_the_peer_is_the_single_file_on_the_same_data(toy, small, tmp_path, monkeypatch):
    toy.save(tmp_path / "toy.h5")
    updates, update = [], measure.omac_single_file.update
    monkeypatch.setattr(measure.omac_single_file, "update", lambda *a: updates.append(a) or update(*a))
    rows, ratio, (low, high) = measure.against_the_peer(toy, tmp_path / "toy.h5", small, [0, 1])
    assert len(updates) == (1 + measure.ROUNDS) * measure.STEPS  # one round warms up
    assert len(rows) == 2 and low <= ratio <= high


def test_a_cells_time_is_papermills_and_an_unfinished_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "BUILD", tmp_path)
    monkeypatch.setattr(cells, "ROOT", tmp_path)
    write_csv(pd.DataFrame({"step": [10, None, 20]}), tmp_path / "rows.csv")
    told = {"dataset": "smax-corridor-good-100", "algorithm": "bc", "out": "rows.csv"}
    for name, duration in (("a", 61.6), ("b", None)):
        about = {"papermill": {"parameters": told, "duration": duration, "exception": None}}
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"metadata": about}))
    out = tmp_path / "cells.csv"
    assert cells.add(["a"], out).to_numpy().tolist() == [["corridor", "good", "bc", "default", 20, 62]]
    assert len(cells.add(["a"], out)) == 1  # again: in its place
    with pytest.raises(ValueError, match="build/b.ipynb did not run to its end"):
        cells.add(["b"], out)


def test_every_committed_cell_time_is_of_the_steps_in_params_yaml():
    params = load_params()
    for cell in pd.read_csv(cells.OUT).itertuples():
        assert cell.steps == settings(params, "laptop", cell.map, cell.level, cell.variant)[0].steps

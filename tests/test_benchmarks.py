"""The benchmark's arithmetic: what it makes of the times that it measured; and that what it times is what a cell runs."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from omac import algorithms
from omac.algorithms import REGISTRY
from omac.behaviour import mappo
from omac.behaviour.lock_steps import masked_log_softmax
from omac.config.hyper import load_params, of_policies, settings
from omac.envs import make
from omac.files import write_csv
from omac.paths import ROOT
from omac.training.trainer import Trainer

sys.path.insert(0, str(ROOT / "benchmarks"))
import cells  # noqa: E402
import costs  # noqa: E402
import footprint  # noqa: E402
import gru_actor  # noqa: E402
import measure  # noqa: E402
import mutants  # noqa: E402


@pytest.fixture
def params():
    """Two data sets: values of twenty steps with four snapshots on good, of ten with two on poor; then policies of five steps
    with one; five battles each, ten at the end; two temperatures of OMAC alone.
    """
    p = load_params()
    tiny = {"steps": 10, "policy_steps": 5, "eval_every": 5, "eval_episodes": 5, "final_episodes": 10, "seeds": [0, 1]}
    p["profiles"]["tiny"] = {**p["profiles"]["smoke"], **tiny}
    p["steps"] = {"6h_vs_8z": {"good": {"tiny": 20}}}
    p["grid"] = {**p["grid"], "maps": ["6h_vs_8z"], "levels": ["good", "poor"]}
    p["temperatures"] = {"omac": {"published": {}, "beta_5": {"beta": 5.0}}}
    return p


STEPS = {("6h_vs_8z", "good"): 20, ("6h_vs_8z", "poor"): 10}
PHASES = {"omac": ["value", "policy"], "icq": ["value", "policy"], "bc": ["policy"]}  # the others: side by side
SPEED = [{"map": "6h_vs_8z", "battle": 0.5}]
SPEED[0] |= {f"{name} value": i + 1.0 for i, name in enumerate(REGISTRY) if name in ("omac", "icq")}
SPEED[0] |= {f"{name} policy": i + 0.25 for i, name in enumerate(REGISTRY) if name in PHASES}
SPEED[0] |= {f"{name} joint": i + 1.0 for i, name in enumerate(REGISTRY) if name not in PHASES}


def test_the_phases_are_those_of_the_trainer(toy, small):
    for name in REGISTRY:
        phases = Trainer(toy, algorithms.get(name), small, [0]).phases()
        assert costs.phases_of(name, small) == {x.name: x.steps for x in phases}
        assert list(costs.phases_of(name, small)) == PHASES.get(name, ["joint"])


def test_a_cell_is_its_data_sets_steps_the_snapshots_and_battles_that_go_with_them_and_what_every_cell_takes(params):
    good, poor = costs.cell_seconds(SPEED, params, "tiny", STEPS, once=3.0, snapshot=2.0)
    assert (good["steps"], poor["steps"]) == (20, 10)
    for line, values in ((good, 20), (poor, 10)):
        for i, name in enumerate(REGISTRY):
            policies, coupled = 2 if name == "omac" else 1, name not in PHASES
            acting = values // 5 if coupled else 1  # snapshots of what acts
            fights = 2 * policies * (acting * 5 + 10) * 0.5
            if coupled:
                steps, snapshots = values * (i + 1), values // 5
            elif name == "bc":
                steps, snapshots = 5 * (i + 0.25), 1
            else:
                steps, snapshots = values * (i + 1) + 5 * (i + 0.25), values // 5 + 1
            assert line[name] == pytest.approx(3 + snapshots * 2 + fights + steps), name
            assert name != "omac" or line["evaluation"] == fights


def test_the_same_cell_side_by_side_values_first_and_with_more_temperatures(params):
    hyper, seeds = settings(params, "tiny", level="good")
    step = {"joint": 9.0, "value": 7.0, "policy": 2.0, "policies": 5.0}
    before, first, after = costs.before_and_after(hyper, len(seeds), 4, step, battle=0.5, once=3.0, snapshot=2.0)
    assert before["seconds"] == 3 + 4 * 2 + 2 * (4 * 5 + 10) * 0.5 + 20 * 9
    assert first["seconds"] == 3 + 5 * 2 + 2 * (5 + 10) * 0.5 + 20 * 7 + 5 * 2
    assert after["seconds"] == 3 + 5 * 2 + 2 * 4 * (5 + 10) * 0.5 + 20 * 7 + 5 * 5
    assert after["of these evaluation"] == 60 and after["a cell of OMAC"] == "values first, 4 policies"


def test_the_whole_study_is_113_cells_and_its_hours_fill_two_cores():
    p = load_params()
    rows = [
        {"map": m, "level": level, **dict.fromkeys(REGISTRY, 60.0)}
        for m in p["grid"]["maps"]
        for level in p["grid"]["levels"]
    ]
    next(row for row in rows if (row["map"], row["level"]) == ("6h_vs_8z", "poor"))["omac"] = 100.0
    spent = costs.whole(rows, p["grid"])
    assert len(spent) == 113 and spent.count(100.0) == 3 + 5  # whole, two subsets; five ablations
    assert costs.hours(spent) == pytest.approx((105 * 60 + 8 * 100) / 2 / 3600)


def test_the_steps_of_the_study_are_params_yamls(params):
    assert costs.planned(params, "tiny") == STEPS
    hyper = settings(params, "tiny", level="good")[0]
    assert [costs.steps_of(name, hyper) for name in ("omac", "bc", "cql")] == [(20, 5), (0, 5), (20, 0)]


def test_whole_cells_are_held_against_their_projection_at_the_same_steps_alone(params):
    rows = costs.cell_seconds(SPEED, params, "tiny", STEPS, once=3.0, snapshot=2.0)
    ran = [
        ("good", "omac", "default", 20, 5),
        ("poor", "omac", "default", 20, 5),  # of other steps than params.yaml's, as the next two
        ("good", "icq", "default", 20, 10),
        ("good", "bc", "default", 20, 5),
        ("good", "omac", "maxq", 20, 5),
        ("good", "cql", "default", 20, 0),
    ]
    columns = ["level", "algorithm", "variant", "steps", "policy_steps"]
    measured = pd.DataFrame(ran, columns=columns).assign(map="6h_vs_8z", seconds=123)
    first, last = costs.as_run(rows, measured, params, "tiny")
    assert (first["level"], first["projected"], first["ratio"]) == ("good", rows[0]["omac"], 123 / rows[0]["omac"])
    assert (last["algorithm"], last["projected"]) == ("cql", rows[0]["cql"])
    ran = [{**first, "as run": 30, "projected": 10}, {**first, "as run": 10, "projected": 10}]
    by_map = costs.factors([*ran, {"map": "other", "as run": 3, "projected": 2}])
    assert by_map == {"6h_vs_8z": 2, "other": 1.5} and costs.factors([]) == {}
    slow, _ = costs.as_slow(rows, by_map)
    assert slow["steps"] == 20 and slow["bc"] == 2 * rows[0]["bc"]


def test_the_plain_cell_shares_what_no_layout_changes_and_fights_one_policy_at_a_time():
    hyper, _ = settings(load_params(), "smoke")  # two snapshots of the policy with 4 battles, 8 at the end
    phases = {
        "start-up (imports)": 5.0,
        "data": 1.0,
        "compiling": 2.0,
        costs.TRAINING["value"]: 100.0,
        costs.TRAINING["policy"]: 30.0,
        costs.SNAPSHOTS: 50.0,
    }
    fought = [
        {"battles side by side": 4, "battles per second": 2.0},
        {"battles side by side": 8, "battles per second": 1.0},
    ]
    rows = [{"phase": k, "seconds": v} for k, v in phases.items()]
    got = costs.plain_cell(hyper, {"value": 2.0, "policy": 3.0}, 5, rows, fought)
    assert got == (5 + 1 + 2) + 2 * 100 / 5 + 3 * 30 / 5 + (2 * 2 + 8)


@pytest.mark.slow
def test_the_peer_is_the_single_file_on_the_same_data(toy, small, tmp_path, monkeypatch):
    toy.save(tmp_path / "toy.h5")
    updates = []
    for name in measure.PEERS.values():
        update = getattr(measure.omac_single_file, name)
        spy = lambda *a, name=name, update=update: updates.append(name) or update(*a)  # noqa: E731
        monkeypatch.setattr(measure.omac_single_file, name, spy)
    rows, by_phase, rounds = measure.against_the_peer(toy, tmp_path / "toy.h5", small, [0, 1])
    each = (1 + measure.ROUNDS) * measure.STEPS  # one round warms up
    assert [updates.count(name) for name in ("update_values", "update_policy")] == [each, each]
    assert len(rows) == 2 and set(by_phase) == {"value", "policy"} and rounds.shape == (measure.ROUNDS,)
    assert min(by_phase.values()) > 0 and (rounds > 0).all()


@pytest.mark.slow
def test_what_a_further_temperature_costs_is_timed_on_the_policies_of_the_study(toy, small, monkeypatch):
    seen = []
    step = Trainer.step
    monkeypatch.setattr(
        Trainer, "step", lambda run, n, phase: seen.append((phase, len(run.hypers))) or step(run, n, phase)
    )
    policies = of_policies(load_params(), "omac", small)
    spent = measure.temperatures(toy, small, [0, 1], policies)
    assert set(spent) == {"joint", "value", "policy", "policies"} and min(spent.values()) > 0
    assert set(seen) == {("joint", 1), ("value", 1), ("policy", 1), ("policy", 6)}


@pytest.mark.slow
def test_steps_are_timed_by_algorithm_and_phase(toy, small, monkeypatch):
    monkeypatch.setattr(measure, "in_turn", lambda works, rounds: np.array([[work() or 1.0 for work in works]]))
    rows = measure.gradient_steps(toy, small, [0])
    assert [(row["algorithm"], row["phase"]) for row in rows] == [
        (name, phase) for name in REGISTRY for phase in PHASES.get(name, ["joint"])
    ]
    flops = {(row["algorithm"], row["phase"]): row["GFLOP per seed-step"] for row in rows}
    assert flops["omac", "policy"] < flops["omac", "value"] / 2  # a step of the policies computes no values


def test_a_cells_time_is_papermills_and_an_unfinished_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "BUILD", tmp_path)
    monkeypatch.setattr(cells, "ROOT", tmp_path)
    kinds = {"value": [10, 20], "eval": [5, 10], "final": [10], "data": [None]}
    first = pd.DataFrame([{"kind": kind, "step": x} for kind, steps in kinds.items() for x in steps])
    write_csv(first.assign(q_tot=[1.0, 1.0, None, None, 1.0, None]), tmp_path / "rows.csv")
    write_csv(first[first.kind != "value"], tmp_path / "cloning.csv")  # no values
    write_csv(first[first.kind != "value"].assign(q_tot=1.0), tmp_path / "joint.csv")
    told = {"dataset": "smax-corridor-good-100", "algorithm": "omac", "out": "rows.csv"}
    others = [{**told, "algorithm": "bc", "out": "cloning.csv"}, {**told, "algorithm": "cql", "out": "joint.csv"}]
    durations = {"a": (61.6, told), "b": (None, told), "c": (30, others[0]), "d": (40, others[1])}
    for name, (duration, parameters) in durations.items():
        about = {"papermill": {"parameters": parameters, "duration": duration, "exception": None}}
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"metadata": about}))
    out = tmp_path / "cells.csv"
    assert cells.add(["a"], out).to_numpy().tolist() == [["corridor", "good", "omac", "default", 20, 10, 62]]
    assert len(cells.add(["a"], out)) == 1  # again: in its place
    counts = cells.add(["c", "d"], out).set_index("algorithm")[["steps", "policy_steps"]]
    assert counts.to_dict("index") == {
        "bc": {"steps": 0, "policy_steps": 10},
        "cql": {"steps": 10, "policy_steps": 0},
        "omac": {"steps": 20, "policy_steps": 10},
    }
    with pytest.raises(ValueError, match="build/b.ipynb did not run to its end"):
        cells.add(["b"], out)


def test_every_committed_cell_time_is_of_the_steps_in_params_yaml():
    params = load_params()
    for cell in pd.read_csv(cells.OUT).itertuples():
        hyper = settings(params, "laptop", cell.map, cell.level, cell.variant)[0]
        assert (cell.steps, cell.policy_steps) == costs.steps_of(cell.algorithm, hyper)


SOURCE = """
def f(a, b, c=1):
    x = -a if not b else a.item()
    return max(x, sorted(b, reverse=True)[0] * 2) <= 3 and x + a
"""


def test_every_mutant_of_a_function_is_another_function():
    plain = next(x for x in compile(SOURCE, "mutant", "exec").co_consts if hasattr(x, "co_code"))
    found = mutants.mutants(SOURCE)
    kinds = {m.what for m in found}
    assert {
        "Add to Sub",
        "LtE to Lt",
        "And to Or",
        "True to False",
        "3 to 4",
        "USub left out",
        ".item() left out",
    } <= kinds
    assert {"condition turned", "last two arguments change places", "argument reverse left out"} <= kinds
    for mutant in found:
        code = mutants.mutated(SOURCE, mutant)
        told = [(x.co_code, x.co_consts, x.co_names) for x in (code, plain)]
        assert told[0] != told[1], mutant.what
        assert mutant.function == ("f",) and 3 <= mutant.line <= 4


# --- what a container would hold


def test_the_page_on_installation_has_each_measured_size_once_and_the_walkthrough_fits_2_gb():
    text = footprint.PAGE.read_text()
    sizes = {"downloaded": ("downloaded", 3e6), "installed": ("installed", 4e6), "peak memory": ("peak memory", 5e6)}
    assert "| downloaded | 3 |\n| installed | 4 |\n| peak memory | 5 |" in footprint.with_sizes(text, sizes)
    with pytest.raises(ValueError, match="0 rows that begin with 'more'"):
        footprint.with_sizes(text, {"more": ("more", 1)})
    (peak,) = re.findall(r"^\| peak memory.* \| (\d+) \|$", text, re.M)
    assert 100 < int(peak) < 2000


@pytest.fixture(scope="module")
def remembered():
    """Battles of the toy by a GRU actor whose logits differ, its settings and its critic."""
    env = gru_actor.RememberedBattles("toy:line")
    s = mappo.Mappo(hidden=8)
    actor, critic, adam = gru_actor.gru_actor_critic(make("toy:line", 1).spec, 0, s)
    with torch.no_grad():
        actor.rest[-1].weight.mul_(100)
    return actor, critic, adam, env.fight(actor, np.arange(12, dtype=np.uint32)), s


def test_a_gru_actor_remembers_the_battle_that_it_fights_and_no_other(remembered):
    actor, _, _, fought, _ = remembered
    obs = gru_actor.grid(fought.live, fought.obs)
    avail = gru_actor.grid(fought.live, fought.avail, True)
    action = gru_actor.grid(fought.live, fought.action)
    logits, _ = actor(obs)
    log_p = masked_log_softmax(logits, avail).gather(-1, action[..., None])[..., 0].detach()
    torch.testing.assert_close(log_p[torch.from_numpy(fought.live)].numpy(), fought.log_pi, rtol=0, atol=1e-5)
    alone, _ = actor(obs[:, 3:4])
    torch.testing.assert_close(alone[:, 0], logits[:, 3])
    assert not torch.allclose(actor(obs[1:])[0][0], logits[1])  # without its first step it would act otherwise


def test_what_follows_the_end_of_a_battle_does_not_enter_a_gru_actors_loss(remembered):
    actor, _, _, fought, s = remembered
    live = fought.live
    longer = np.concatenate([live, np.zeros((2, live.shape[1]), bool)])
    losses = []
    for on, fill in ((live, 0), (longer, 7)):
        b = {"obs": gru_actor.grid(on, fought.obs, fill)}
        b |= {
            "avail": gru_actor.grid(on, fought.avail, True),
            "action": gru_actor.grid(on, fought.action.astype(np.int64)),
        }
        b |= {"old": gru_actor.grid(on, fought.log_pi - 0.1), "live": torch.from_numpy(on)}
        b["adv"] = gru_actor.grid(on, np.random.default_rng(1).normal(size=live.sum()).astype(np.float32), fill)
        losses.append([x.item() for x in gru_actor.loss_of_battles(actor, b, s)])
    assert losses[0] == pytest.approx(losses[1]) and losses[0][0] != 0


def test_an_update_changes_every_weight_of_a_gru_actor(remembered):
    actor, critic, adam, fought, s = remembered
    before = {name: x.clone() for name, x in actor.state_dict().items()}
    found = gru_actor.gru_update(actor, critic, adam, fought, s, np.random.default_rng(0))
    assert all(np.isfinite(list(found.values()))) and found["entropy"] > 0
    assert all((actor.state_dict()[name] != x).any() for name, x in before.items())

"""Controls see no observation: what they take is counted in the data by hand."""

from dataclasses import replace

import numpy as np
import pytest

from omac.files import read_rows
from omac.schema import CONTROLS
from omac.study import controls
from omac.study.cell import final_battles


def test_choices_are_counted_by_time_step_agent_and_action(toy):
    avail = toy.avail.copy()
    forced = np.random.default_rng(0).random(avail.shape[:2]) < 0.3  # agents that have no choice, as the fallen
    _, row = toy.rows()
    avail[row] = np.where(forced[row][..., None], np.eye(toy.spec.actions, dtype=bool)[toy.action], avail[row])
    data = replace(toy, avail=avail)
    counts = controls.action_counts(data)
    assert counts.shape == (toy.lengths.max(), toy.spec.n, toy.spec.actions)
    wanted = np.zeros_like(counts)
    for e in range(len(toy)):
        for t, actions in enumerate(toy.action[toy.start[e] : toy.start[e + 1]]):
            for agent, action in enumerate(actions):
                wanted[t, agent, action] += avail[toy.start[e] + e + t, agent].sum() > 1
    assert np.array_equal(counts, wanted)
    assert counts.sum() < toy.action.size


def test_they_take_the_most_frequent_available_action_at_the_time_or_ever():
    counts = np.zeros((2, 1, 3), int)
    counts[0, 0], counts[1, 0] = [1, 5, 2], [4, 0, 3]
    every = np.ones((1, 1, 3), bool)
    without_best = every.copy()
    without_best[..., 1] = False
    clock, majority = controls.acting_by(counts), controls.acting_by(counts.sum(0, keepdims=True))
    now, later, after = (np.array([t]) for t in (0, 1, 9))
    assert [clock(None, every, None, t).item() for t in (now, later, after)] == [1, 0, 0]
    assert clock(None, without_best, None, now).item() == 2  # 2 of the data's against 1
    assert [majority(None, every, None, t).item() for t in (now, later)] == [0, 0]  # 5, 5 and 5: the first


def test_random_actions_are_available_ones_and_a_battles_own(toy):
    act = controls.control("random", toy, toy.spec.horizon)
    avail = np.zeros((4, toy.spec.n, toy.spec.actions), bool)
    avail[..., 2] = True
    obs, seeds, t = np.zeros((4, toy.spec.n, toy.spec.obs), np.float32), np.arange(4, dtype=np.uint32), np.zeros(4, int)
    assert (act(obs, avail, seeds, t) == 2).all()
    free = np.ones_like(avail)
    assert len(np.unique(act(obs, free, seeds, t))) > 1


@pytest.mark.slow
def test_rows_are_sealed_and_of_the_battles_that_every_algorithm_fights(toy, small, tmp_path, monkeypatch):
    seen = []
    fought = controls.score_battles

    def watched(env, policy, battles, *rest):
        seen.append(battles)
        return fought(env, policy, battles, *rest)

    monkeypatch.setattr(controls, "score_battles", watched)
    monkeypatch.setattr(controls, "load", lambda dataset, folder: toy)
    monkeypatch.setattr(controls, "settings", lambda *_: (replace(small, final_episodes=8), [0, 3]))
    paths = controls.run_controls("toy-line-random-100", {}, "laptop", tmp_path, progress=False)
    assert [p.stem.split("-")[-1] for p in paths] == list(CONTROLS)
    wanted = np.concatenate([final_battles(seed, 8) for seed in (0, 3)])
    assert all(np.array_equal(battles[0], wanted) for battles in seen)
    rows = read_rows(paths[0])
    assert list(rows["seed"]) == [0, 3] and (rows["episodes"] == 8).all() and (rows["kind"] == "final").all()

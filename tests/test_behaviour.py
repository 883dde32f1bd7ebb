"""MAPPO and the levels that are cut from it; on the toy, and on the committed snapshots of 6h_vs_8z."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from omac import schema
from omac.behaviour import levels, mappo
from omac.behaviour.mappo import Mappo, advantages, train_mappo
from omac.files import record_sums
from omac.study import prepare

pytestmark = pytest.mark.slow

QUICK = Mappo(battle_steps=6_000, slots=16, turns=2, hidden=16)


def test_generalised_advantages_equal_a_literal_loop_with_ends_and_limits(toy):
    values = np.random.default_rng(0).normal(size=len(toy.obs)).astype(np.float32)
    got = advantages(toy, values, 0.9, 0.8)
    for e in range(0, 300, 37):
        lo, hi = toy.start[e], toy.start[e + 1]
        v, running, want = values[lo + e : hi + e + 1], 0.0, []
        for t in reversed(range(hi - lo)):
            after = 0.0 if toy.terminated[lo + t] else v[t + 1]  # a time limit bootstraps
            running = toy.reward[lo + t] / 10 + 0.9 * after - v[t] + (0.72 * running if t < hi - lo - 1 else 0)
            want.append(running)
        np.testing.assert_allclose(got[lo:hi], want[::-1], rtol=1e-4, atol=1e-5)


def test_mappo_learns_the_toy_and_keeps_snapshots_along_the_way(tmp_path):
    point = train_mappo(
        "toy:line", 0, Mappo(battle_steps=40_000, slots=16, turns=4, hidden=32), tmp_path, progress=False
    )
    returns = [k["return"] for k in point["kept"]]
    assert returns[0] < 7 and returns[-1] > 15 and returns == sorted(returns) and len(returns) > 4


def test_a_killed_training_resumes_and_ends_with_the_same_policy(tmp_path, monkeypatch):
    whole = train_mappo("toy:line", 0, QUICK, tmp_path / "a", progress=False)
    update, calls = mappo._update, []

    def dying(*args):
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return update(*args)

    monkeypatch.setattr(mappo, "_update", dying)
    with pytest.raises(KeyboardInterrupt):
        train_mappo("toy:line", 0, QUICK, tmp_path / "b", progress=False)
    resumed = train_mappo("toy:line", 0, QUICK, tmp_path / "b", progress=False)
    assert len(calls) > 14 and len(calls) == whole["update"] + 3  # from the checkpoint of update 10, not from the start
    assert (
        all(torch.equal(x, resumed["actor"][k]) for k, x in whole["actor"].items())
        and resumed["curve"] == whole["curve"]
    )


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    train_mappo("toy:line", 0, QUICK, tmp_path, progress=False)
    with pytest.raises(ValueError, match="delete it to begin anew"):
        train_mappo("toy:line", 0, Mappo(battle_steps=7_000), tmp_path, progress=False)


def test_a_checkpoint_of_other_code_or_a_damaged_one_is_refused(tmp_path, monkeypatch):
    train_mappo("toy:line", 0, QUICK, tmp_path, progress=False)
    monkeypatch.setattr(mappo.source_hash, "module_source", lambda names: "other")
    with pytest.raises(ValueError, match="trained by other code"):
        train_mappo("toy:line", 0, QUICK, tmp_path, progress=False)
    (tmp_path / "toy-line-0.pt").write_bytes(b"broken")
    with pytest.raises(ValueError, match="cannot be read"):
        train_mappo("toy:line", 0, QUICK, tmp_path, progress=False)
    (tmp_path / "smax-6h_vs_8z.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="is not listed in"):
        levels.load_level("smax", "6h_vs_8z", "good", tmp_path)
    record_sums(tmp_path / "smax-6h_vs_8z.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        levels.load_level("smax", "6h_vs_8z", "good", tmp_path)


def test_levels_need_something_learned():
    with pytest.raises(ValueError, match="nothing was learned"):
        levels.cut([3.0, 3.0], 0)


def test_levels_are_thirds_of_the_way_from_the_first_mean_return_to_the_best():
    assert levels.cut([3.0, 8.9, 9.1, 14.9, 15.1, 21.0, 2.0], 0) == [
        "poor",
        "poor",
        "medium",
        "medium",
        "good",
        "good",
        "poor",
    ]


def test_a_level_with_too_few_snapshots_or_seeds_is_refused(tmp_path):
    point = train_mappo("toy:line", 0, QUICK, tmp_path, progress=False)
    with pytest.raises(ValueError, match="at least 6 of 2 seeds are needed"):
        levels.save_levels("toy:line", [point], tmp_path)


def test_the_committed_levels_of_6h_vs_8z_keep_the_rule():
    with safe_open(levels.snapshot_path("smax", "6h_vs_8z"), "pt") as f:
        rows = json.loads(f.metadata()["snapshots"])
        assert all(f.get_tensor(k).shape[0] == len(rows) for k in f.keys())  # noqa: SIM118
    returns = [r["return"] for r in rows]
    first = min(range(len(rows)), key=lambda i: (rows[i]["steps"], rows[i]["seed"]))
    assert [r["level"] for r in rows] == levels.cut(returns, first)
    for level in schema.LEVELS:
        members = [r for r in rows if r["level"] == level]
        assert len(members) >= 6 and len({r["seed"] for r in members}) >= 2


def test_unknown_maps_levels_and_sources_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m omac behaviour 5m_vs_6m"):
        levels.load_level("smax", "5m_vs_6m", "good", tmp_path)
    with pytest.raises(ValueError, match="unknown level 'excellent'; there are good, medium, poor"):
        levels.load_level("smax", "6h_vs_8z", "excellent")
    with pytest.raises(ValueError, match="unknown source 'madd'"):
        prepare.pull("madd", "6h_vs_8z", "good", 1, 0, tmp_path)


def test_a_pull_repeats_to_the_byte_with_equal_shares_of_every_snapshot(tmp_path):
    from omac.data.episodes import Episodes

    path, digest = prepare.pull("smax", "6h_vs_8z", "good", 30, 0, tmp_path / "a")
    assert prepare.pull("smax", "6h_vs_8z", "good", 30, 0, tmp_path / "b")[1] == digest
    assert prepare.pull("smax", "6h_vs_8z", "good", 30, 1, tmp_path / "c")[1] != digest
    data = Episodes.load(path)
    share = np.bincount(data.policy, minlength=len(data.about["policies"]))
    assert len(data) == 30 and share.max() - share.min() <= 1 and share.min() >= 1
    assert data.about["sizes"] == [6, 179, 168, 13] and data.id.tolist() == list(range(30))

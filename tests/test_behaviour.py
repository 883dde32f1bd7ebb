"""MAPPO and the levels that are cut from it; on the toy, and on the committed snapshots of 6h_vs_8z."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from omac import schema
from omac.behaviour import levels, mappo
from omac.behaviour.lock_steps import SteppedBattles
from omac.behaviour.mappo import Mappo, advantages, train_mappo
from omac.envs import make
from omac.evaluation import battle_seeds
from omac.files import record_sums
from omac.nn.networks import MLP, AgentMLP, generators
from omac.study import prepare

pytestmark = pytest.mark.slow

QUICK = Mappo(battle_steps=6_000, slots=16, turns=2, hidden=16)


@pytest.fixture(scope="module")
def fought():
    """150 battles of an untrained actor on toy:line, 50 slots."""
    battle = make("toy:line", 50)
    return SteppedBattles(battle).fight(_untrained(battle.spec), battle_seeds(7, shape=(150,)))


def _untrained(spec, hidden=16):
    return AgentMLP(generators([0]), spec.n, spec.obs, hidden, spec.actions)


def test_generalised_advantages_equal_a_literal_loop_with_ends_and_limits(fought):
    rng = np.random.default_rng(0)
    values, finals = (rng.normal(size=len(x)).astype(np.float32) for x in (fought.obs, fought.final))
    got = advantages(fought, values, finals, 0.9, 0.8)
    number = np.cumsum(fought.live).reshape(fought.live.shape) - 1  # of a live row
    limit = np.cumsum(fought.live & fought.truncated).reshape(fought.live.shape) - 1  # of a truncated one
    ends, limited = 0, 0
    for e in range(50):
        steps = np.flatnonzero(fought.live[:, e])
        running = 0.0
        for t in steps[::-1]:
            row = number[t, e]
            if fought.terminated[t, e]:
                after, running, ends = 0.0, 0.0, ends + 1
            elif fought.truncated[t, e]:  # a time limit bootstraps
                after, running, limited = finals[limit[t, e]], 0.0, limited + 1
            else:
                after = values[number[t + 1, e]]
            running = fought.reward[t, e] / 10 + 0.9 * after - values[row] + 0.72 * running
            np.testing.assert_allclose(got[row], running, rtol=1e-4, atol=1e-5)
    assert ends > 10 and limited > 10 and ends + limited == 150


def test_an_update_is_ppos_clipped_step_on_all_rows_those_of_the_fallen_included(fought):
    s = Mappo(hidden=16, epochs=1, minibatches=1, entropy=0.03)
    fallen = fought.avail.sum(-1) == 1
    fought = fought._replace(obs=np.where(fallen[..., None], 0, fought.obs))
    assert 0.1 < fallen.mean() < 0.9
    spec = make("toy:line", 1).spec
    critic = MLP(generators([1]), spec.state, (16, 16, 1))
    actor = _untrained(spec)
    want = copy.deepcopy((actor, critic))
    # the same with dense observations and the formulas written out
    x = {k: torch.from_numpy(getattr(fought, k)) for k in ("obs", "state", "avail", "action", "log_pi", "final")}
    values, finals = (want[1](x[k][None])[0, :, 0] for k in ("state", "final"))
    v = values.detach()
    adv = torch.from_numpy(advantages(fought, v.numpy(), finals.detach().numpy(), s.gamma, s.lam))
    log_p = torch.log_softmax(want[0](x["obs"][None])[0].masked_fill(~x["avail"], -1e9), -1)
    ratio = (log_p.gather(-1, x["action"].long()[..., None])[..., 0] - x["log_pi"]).exp()
    gain = ((adv - adv.mean()) / (adv.std() + 1e-8))[:, None]
    loss = -torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    loss_v = 0.5 * torch.max((values - adv - v) ** 2, (v + (values - v).clamp(-0.2, 0.2) - adv - v) ** 2).mean()
    parameters = [p for net in want for p in net.parameters()]
    adam = torch.optim.Adam(parameters, 2e-3, eps=1e-5)
    (loss + 0.5 * loss_v - 0.03 * entropy).backward()
    torch.nn.utils.clip_grad_norm_(parameters, 0.25)
    adam.step()
    mine = [*actor.parameters(), *critic.parameters()]
    got = mappo.ppo_update(actor, critic, torch.optim.Adam(mine, 2e-3, eps=1e-5), fought, s, np.random.default_rng(0))
    for a, b in zip(mine, parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)
    assert got == pytest.approx(
        {"policy_loss": loss.item(), "value_loss": loss_v.item(), "entropy": entropy.item()}, 1e-3
    )


def test_compiled_battles_are_those_of_the_simulator_and_actions_those_of_the_actor():
    from omac.behaviour.compiled import CompiledBattles

    slots, seeds = 4, battle_seeds(7, shape=(11,))
    battle = make("smax:5m_vs_6m", slots)
    actor = _untrained(battle.spec, 128)
    fought = CompiledBattles("5m_vs_6m", slots).fight(actor, seeds)
    place = np.cumsum(fought.live).reshape(fought.live.shape) - 1
    with torch.no_grad():
        obs, avail = (torch.from_numpy(x) for x in (fought.obs, fought.avail))
        log_p = torch.log_softmax(actor(obs[None])[0].masked_fill(~avail, -1e9), -1).numpy()
    taken = np.eye(log_p.shape[-1])[fought.action]
    np.testing.assert_allclose((log_p * taken).sum(-1), fought.log_pi, rtol=1e-4, atol=1e-5)
    # how often each action was taken, against its probability, in standard deviations
    p = np.exp(log_p)
    surprise = (taken - p).sum((0, 1)) / np.sqrt((p * (1 - p)).sum((0, 1)))
    assert np.abs(surprise).max() < 4 and not (taken.astype(bool) & ~fought.avail).any()
    # the same actions in the simulator: a slot whose battle ends takes the next seed
    view, begun = battle.reset(seeds[:slots]), slots
    ours = np.arange(slots)
    for t, live in enumerate(fought.live):
        assert (live == (ours < len(seeds))).all()
        rows = place[t, live]
        np.testing.assert_allclose(view.obs[live], fought.obs[rows], atol=1e-5)
        np.testing.assert_allclose(view.state[live], fought.state[rows], atol=1e-4)
        assert (view.avail[live] == fought.avail[rows]).all()
        action = np.full((slots, battle.spec.n), 4)
        action[live] = fought.action[rows]
        after = battle.step(action)
        np.testing.assert_allclose(after.reward[live], fought.reward[t, live], atol=1e-5)
        for name in ("terminated", "truncated", "won"):
            assert (getattr(after, name)[live] == getattr(fought, name)[t, live]).all()
        over = live & (after.terminated | after.truncated)
        ours = np.where(over, begun + np.cumsum(over) - 1, ours)
        begun += over.sum()
        again = over & (ours < len(seeds))
        view = battle.reset(seeds[np.minimum(ours, len(seeds) - 1)], again) if again.any() else after.view
    assert begun == len(seeds) + slots and (ours >= len(seeds)).all()


def test_mappo_learns_the_toy_and_keeps_snapshots_along_the_way(tmp_path):
    point = train_mappo(
        "toy:line", 0, Mappo(battle_steps=40_000, slots=16, turns=4, hidden=32), tmp_path, progress=False
    )
    returns = [k["return"] for k in point["kept"]]
    assert returns[0] < 7 and returns[-1] > 15 and returns == sorted(returns) and len(returns) > 4


def test_a_killed_training_resumes_and_ends_with_the_same_policy(tmp_path, monkeypatch):
    whole = train_mappo("toy:line", 0, QUICK, tmp_path / "a", progress=False)
    update, calls = mappo.ppo_update, []

    def dying(*args):
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return update(*args)

    monkeypatch.setattr(mappo, "ppo_update", dying)
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

"""Each point that the paper leaves open is a switch that does what the deviation register says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from handmade import policy_loss

from omac.algorithms import omac
from omac.config.hyper import Hyper, load_params, settings
from omac.nn.networks import generators
from omac.training.replay import Replay
from omac.training.trainer import train


@pytest.fixture
def setup(toy, small):
    nets = omac.build(toy.spec, small, generators([0]))
    for t in (nets.q_bar, nets.v_bar, nets.mix_bar):  # targets that differ from their networks
        for p in t.parameters():
            p.data.add_(0.1)
    return nets, Replay(toy, small).draw([0], 0)


@pytest.mark.slow
def test_bootstrap_takes_the_target_copies_or_the_online_networks(setup, small):
    nets, batch = setup
    for which, v, mix in (("target", nets.v_bar, nets.mix_bar), ("online", nets.v, nets.mix)):
        w, share, _ = mix.value(batch.s_next)
        want = batch.r + small.gamma * (1 - batch.done) * ((w * v(batch.o_next)[..., 0]).sum(-1) + share)
        torch.testing.assert_close(omac.target(nets, batch, replace(small, bootstrap=which)), want)


def test_advantage_takes_the_target_or_the_online_q(setup, small):
    nets, batch = setup
    for which, q in (("target", nets.q_bar), ("online", nets.q)):
        signal = omac.value_loss(nets, batch, replace(small, advantage=which))[1]
        torch.testing.assert_close(
            signal["advantage"], (q(batch.o).gather(-1, batch.a[..., None]) - nets.v(batch.o))[..., 0]
        )


@pytest.mark.slow
def test_global_input_is_the_state_or_the_joint_observation(toy, small):
    t = torch.arange(50)[None]
    assert torch.equal(Replay(toy, small).at(t).s[0], torch.from_numpy(toy.state[toy.rows()[1][:50]]))
    joint = Replay(toy, replace(small, global_input="joint_obs")).at(t)
    assert torch.equal(joint.s[0], torch.from_numpy(toy.obs[toy.rows()[1][:50]]).flatten(1))
    assert joint.s_next.shape == joint.s.shape == (1, 50, 12)
    train(toy, "omac", replace(small, global_input="joint_obs"), [0], progress=False)


def test_reward_is_the_step_reward_or_the_undiscounted_return_to_go(toy, small):
    t = torch.arange(len(toy.reward))[None]
    np.testing.assert_array_equal(Replay(toy, small).at(t).r[0], toy.reward)
    batch = Replay(toy, replace(small, reward="return_to_go")).at(t)
    np.testing.assert_allclose(batch.r[0][toy.start[:-1]], toy.returns, rtol=1e-5, atol=1e-5)
    e = 3
    to_go = np.cumsum(toy.reward[toy.start[e] : toy.start[e + 1]][::-1])[::-1]
    followed = sum(
        small.gamma**k * x for k, x in enumerate(to_go)
    )  # what Q_tot is held against adds up the same reward
    np.testing.assert_allclose(batch.ret[0][toy.start[e]], followed, rtol=1e-5)


def test_mask_dead_leaves_agents_with_a_single_action_out_of_eqs_5_and_8(setup, small):
    nets, batch = setup
    assert 0 < batch.alive.mean() < 1
    hyper = replace(small, mask_dead=True)
    signal = omac.value_loss(nets, batch, hyper)[1]
    spoiled = batch._replace(
        a=torch.where(batch.alive.bool(), batch.a, 0), o=batch.o.dense() + 100 * (1 - batch.alive[..., None])
    )

    def l_v(batch, hyper):
        return omac.value_loss(nets, batch, hyper)[0]["L_V"]

    torch.testing.assert_close(l_v(spoiled, hyper), l_v(batch, hyper))
    assert not torch.allclose(l_v(spoiled, small), l_v(batch, small))
    clean, found = (policy_loss(omac, nets, x, signal, hyper) for x in (batch, spoiled))
    torch.testing.assert_close(found, clean)


@pytest.mark.slow
def test_sequential_learns_the_policy_after_the_values(toy, small):
    joint = train(toy, "omac", replace(small, schedule="joint"), [0], progress=False)
    after = train(toy, "omac", replace(small, schedule="sequential"), [0], progress=False)
    for name in ("v", "q", "mix"):  # the values are those of the joint run, step by step
        for a, b in zip(getattr(joint.nets, name).parameters(), getattr(after.nets, name).parameters(), strict=True):
            torch.testing.assert_close(a, b)
    assert [s["step"] for s in after.snapshots] == [20, 40]
    assert not torch.equal(joint.snapshots[-1]["policy"]["first.weight"], after.snapshots[-1]["policy"]["first.weight"])


def test_max_weight_is_reached_and_its_share_is_logged(toy, small):
    trained = train(toy, "omac", replace(small, max_weight=1e-6), [0], progress=False)
    assert trained.log[-1]["weight_clipped"] == 1.0 and trained.log[-1]["weight_std"] < 1e-8


def test_grad_clip_bounds_the_update(toy, small, monkeypatch):
    from omac.training import trainer

    seen = []
    clip = trainer.clip_per_seed

    def spy(parameters, limit):
        before = clip(parameters, limit)
        seen.append((before, clip(parameters, 1e9)))  # a second call only measures
        return before

    monkeypatch.setattr(trainer, "clip_per_seed", spy)
    train(toy, "omac", replace(small, grad_clip=0.05), [0, 1], progress=False)
    assert len(seen) == 2 * small.steps + small.policy_steps  # V_i and Q_i with the weights; then pi_i
    before, after = (torch.stack(x) for x in zip(*seen, strict=True))
    assert (
        after.max() <= 0.05 + 1e-6
        and (before > 0.05).any()
        and torch.allclose(after[before < 0.04], before[before < 0.04], rtol=1e-4)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tau": 1.0}, "tau is 1.0"),
        ({"bootstrap": "none"}, "bootstrap is 'none'; choose one of target, online"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"steps": 50, "eval_every": 20}, "no multiple of eval_every"),
        ({"grad_clip": -1}, "grad_clip is -1"),
        ({"lr_value": 0}, "lr_value is 0"),
        ({"beta": -0.5}, "beta is -0.5; it must be at least 0"),
        ({"beta": "big"}, "beta is 'big', a str; expected float"),
        ({"mask_dead": 1}, "mask_dead is 1, a int; expected bool"),
        ({"expectile": 0.7}, "unknown setting 'expectile'"),
        ({"batchsize": 1}, "did you mean batch_size"),
    ],
)
def test_a_bad_setting_is_refused_by_name(change, words):
    with pytest.raises(ValueError, match=words):
        Hyper(steps=40, eval_every=20).change(change)


def test_params_hold_table_2_in_the_papers_words():
    """The numbers of Table 2 reach the settings; profiles other than smoke and quick keep the paper's networks and batch."""
    params = load_params()
    for profile in ("laptop", "paper"):
        hyper, seeds = settings(params, profile)
        got = (
            hyper.lr_value,
            hyper.lr_policy,
            hyper.polyak,
            hyper.batch_size,
            hyper.gamma,
            hyper.hidden,
            hyper.cca_hidden,
            hyper.tau,
            hyper.beta,
        )
        assert got == (5e-4, 5e-4, 0.005, 128, 0.99, 256, 64, 0.7, 1.0) and len(seeds) == 5
    for name, beta in (
        ("corridor-good", 0.5),
        ("3s5z_vs_3s6z-medium", 0.5),
        ("corridor-poor", 1.0),
        ("6h_vs_8z-good", 1.0),
    ):
        assert settings(params, "laptop", *name.split("-"))[0].beta == beta


def test_every_setting_of_a_cell_stands_in_params_yaml():
    """DVC watches params.yaml, so no number may hide in the code's defaults."""
    from dataclasses import fields

    params = load_params()
    named = {f.name for f in fields(Hyper) if f.metadata["words"] in params["table_2"]} | set(params["open_points"])
    for profile in params["profiles"].values():
        assert {f.name for f in fields(Hyper)} <= named | set(profile)


def test_steps_are_the_data_sets_where_it_has_some_and_else_the_profiles():
    params = load_params()
    params["profiles"]["long"] = {**params["profiles"]["laptop"], "steps": 20_000}
    params["steps"] = {"corridor": {"good": {"laptop": 3000}}}
    got = [settings(params, *x)[0].steps for x in (("laptop", "corridor", "good"), ("long", "corridor", "good"))]
    got += [settings(params, "laptop", m, "poor")[0].steps for m in ("corridor", "3m")]
    assert got == [3000, 20_000, *[params["profiles"]["laptop"]["steps"]] * 2]
    params["steps"]["corridor"]["good"] = {"labtop": 3000}
    with pytest.raises(ValueError, match="steps of corridor good: unknown profile 'labtop'; there are smoke, quick"):
        settings(params, "laptop", "corridor", "good")
    params["steps"]["corridor"]["good"] = {"laptop": 3500}
    with pytest.raises(ValueError, match="steps 3500 is no multiple of eval_every 1000"):
        settings(params, "laptop", "corridor", "good")


def test_every_data_set_of_the_grid_has_its_steps_where_dvc_looks_for_them():
    params = load_params()
    for name in params["grid"]["maps"]:
        assert list(params["steps"][name]) == params["grid"]["levels"]


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("open_points", "boostrap", "open_points: unknown setting 'boostrap'.* did you mean bootstrap"),
        ("table_2", "Learning rate", "table_2: unknown key 'Learning rate'; there are 12: did you mean"),
        ("profiles", None, "unknown profile 'labtop'"),
    ],
)
def test_a_misspelt_parameter_is_refused(section, key, words):
    params = load_params()
    if key:
        params[section][key] = 1
    with pytest.raises(ValueError, match=words):
        settings(params, "labtop" if key is None else "smoke")

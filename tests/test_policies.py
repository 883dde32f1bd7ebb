"""Policies on finished values: several side by side as each alone, advantages computed once, scales, the best episodes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from handmade import built, made, scaled

from omac.algorithms import bc, icq, omac
from omac.config.hyper import load_params, of_policies
from omac.study.cell import best_episodes
from omac.training.trainer import Trainer, train

OF_DATA = ("std_1", "std_2")  # temperatures that are known when the values are finished
SIGNALS = {"omac": {"advantage"}, "icq": {"q", "w"}}


def policies_of(algorithm, hyper):
    """{temperature: Hyper}: the study's policies of an algorithm, as params.yaml has them."""
    return of_policies(load_params(), algorithm, hyper)


# ---- a policy in the stack is the same policy trained alone


def of_policy(trained, p):
    """The last parameters of the policies p of all seeds, and what was logged of them in its phase."""
    count = len(trained.temperatures)
    weights = {name: x[p::count] for name, x in trained.snapshots[-1]["policy"].items()}
    return weights, [row for row in trained.log if row.get("temperature") == trained.temperatures[p]]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["omac", "icq"])
def test_a_policy_among_those_of_all_temperatures_equals_the_same_policy_trained_alone(algorithm, toy, small):
    """Every temperature of params.yaml, float32: parameters and logged numbers. Measured: no difference at all."""
    policies = policies_of(algorithm, small)
    run = {"data": toy, "algorithm": algorithm, "hyper": small, "seeds": [0, 1], "progress": False}
    stack = train(**run, policies=policies, held=toy.select(range(20)))
    assert len(policies) == {"omac": 6, "icq": 4}[algorithm] and stack.temperatures == list(policies)
    seen = []
    for p, (name, hyper) in enumerate(policies.items()):
        alone = train(**run, policies={name: hyper}, held=toy.select(range(20)))
        (weights, rows), (lone, of_lone) = of_policy(stack, p), of_policy(alone, 0)
        assert len(rows) == len(of_lone) == 2 * 2  # seeds, snapshots
        for k, x in lone.items():
            torch.testing.assert_close(weights[k], x, rtol=1e-5, atol=1e-6)
        for row, wanted in zip(rows, of_lone, strict=True):
            words = {k for k, x in wanted.items() if isinstance(x, str)}
            assert {k: row[k] for k in words} == {k: wanted[k] for k in words} and row.keys() == wanted.keys()
            numbers = wanted.keys() - words
            assert {k: row[k] for k in numbers} == pytest.approx({k: wanted[k] for k in numbers}, rel=1e-5, abs=1e-6)
            assert {"L_pi", "norm_pi", "norm_pi_max", "weight_std", "weight_share", "held_log_likelihood"} <= set(row)
        seen.append(torch.cat([x.flatten() for x in weights.values()]))
    assert len({tuple(x[:50].tolist()) for x in seen}) == len(policies)  # they differ


@pytest.mark.slow
def test_the_values_do_not_depend_on_how_many_policies_follow(toy, small):
    one = train(toy, "omac", small, [0], progress=False)
    six = train(toy, "omac", small, [0], policies_of("omac", small), progress=False)
    of_values = [[row for row in x.log if row["phase"] == "value"] for x in (one, six)]
    assert of_values[0] == of_values[1] and len(of_values[0]) == 2
    for name in ("v", "q", "mix", "v_bar", "q_bar", "mix_bar"):
        pairs = zip(getattr(one.nets, name).parameters(), getattr(six.nets, name).parameters(), strict=True)
        assert all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.slow
def test_side_by_side_omac_trains_values_and_policies_at_every_step(toy, small):
    """schedule: joint. A spread over the data is not known then: those temperatures are left out."""
    hyper = replace(small, schedule="joint")
    policies = policies_of("omac", hyper)
    assert set(policies_of("omac", small)) - set(policies) == set(OF_DATA)
    run = Trainer(toy, omac, hyper, [0, 1], policies)
    assert run.phases() == [("joint", 0, hyper.steps)]
    moving = ("v", "q", "mix", "v_bar", "q_bar", "mix_bar", "pi")
    for step in range(2):
        before = {name: [p.clone() for p in getattr(run.nets, name).parameters()] for name in moving}
        run.step(step, "joint")
        for name in moving:
            pairs = zip(getattr(run.nets, name).parameters(), before[name], strict=True)
            assert any(not torch.equal(x, y) for x, y in pairs), f"{name} did not move"
    log = train(toy, "omac", hyper, [0, 1], policies, progress=False).log
    assert len(log) == 2 * 2 * len(policies)  # seeds, snapshots, temperatures
    for row in log:
        assert row["phase"] == "joint" and {"L_V", "L_Q", "L_pi", "norm_v", "norm_q", "norm_pi", "q_tot"} <= set(row)


# ---- advantages of finished values, computed once


@pytest.mark.parametrize("module", [omac, icq], ids=["omac", "icq"])
def test_signals_of_finished_values_equal_those_of_the_step(module, toy, small):
    """float32, computed in other batches: to rounding. What beta multiplies with `std` is over the spread in all data."""
    name = module.__name__.split(".")[-1]
    policies = policies_of(name, small)
    run = Trainer(toy, module, small, [0, 1], policies)
    for step in range(5):
        run.step(step, "value")
    run.finish_values()
    t, _ = run.replay.choose([0, 1], 7)
    found, batch = run.signal_at(t), run.replay.at(t)
    of_batch, of_step = module.signal(run.nets, batch, small), module.value_loss(run.nets, batch, small)[1]
    whole = module.signal(run.nets, run.replay.at(torch.arange(run.replay.steps).expand(2, -1)), small)
    for k, x in of_batch.items():
        assert torch.equal(of_step[k], x)
    assert set(found) == SIGNALS[name] and not any(x.requires_grad for x in found.values())
    if name == "icq":
        wanted = of_batch
    else:
        adv, spread = of_batch["advantage"], whole["advantage"].flatten(1).std(1)[:, None, None]
        by_scale = {"none": adv, "std": adv / spread, "w_q": of_batch["w_q"] * adv}
        wanted = {"advantage": torch.stack([by_scale[h.advantage_scale] for h in policies.values()], -1)}
        assert {h.advantage_scale for h in policies.values()} == {"none", "std"}
    for k, x in found.items():
        torch.testing.assert_close(x, wanted[k], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("module", [omac, icq], ids=["omac", "icq"])
def test_a_step_of_the_policies_computes_no_value_network_and_moves_none(module, toy, small):
    run, calls = Trainer(toy, module, small, [0, 1]), []
    for name, part in run.nets.named_modules():
        if name and not any(part.children()):
            part.register_forward_hook(lambda *_, name=name: calls.append(name.split(".")[0]))
    run.step(0, "value")
    assert "pi" not in calls and {"q", "q_bar", "mix", "mix_bar"} <= set(calls)
    run.finish_values()
    before = {k: x.clone() for k, x in run.nets.state_dict().items()}
    calls.clear()
    for step in range(3):
        run.step(step, "policy")
    assert set(calls) == {"pi"}
    moved = {k.split(".")[0] for k, x in run.nets.state_dict().items() if not torch.equal(x, before[k])}
    assert moved == {"pi"}


# ---- the scale of the advantage: values identify w_q (Q_i - V_i) alone


@pytest.mark.parametrize("c", [0.2, 7.0])
def test_scale_free_advantages_are_the_same_under_w_q_times_c_and_advantages_over_c(c, small):
    """The networks' own last layers are changed: Q_tot less V_tot stays, the first temperature is not free of it."""
    hypers = [replace(small, advantage_scale=x, beta=0.3, max_weight=1e9) for x in ("none", "std", "w_q")]
    nets, batch = built(omac, small, policies=3), made(B=50)

    def seen():
        *_, v_tot, q_tot = omac.factorize(nets, batch, small)
        signal = scaled(omac, omac.signal(nets, batch, small), *hypers)
        return q_tot - v_tot, signal["advantage"], omac.policy_loss(nets, batch, signal, hypers)[0]

    with torch.no_grad():
        product, adv, loss = seen()
        for net, by in ((nets.q, 1 / c), (nets.q_bar, 1 / c), (nets.v, 1 / c), (nets.mix, c)):
            layer = nets.mix.f_q2 if net is nets.mix else net.rest.layers[-1]
            layer.weight.mul_(by)
            layer.bias.mul_(by)
        again, other, changed = seen()
    torch.testing.assert_close(again, product)
    torch.testing.assert_close(other[..., 1:], adv[..., 1:])
    torch.testing.assert_close(other[..., 0], adv[..., 0] / c)
    torch.testing.assert_close(changed[1:], loss[1:])
    assert abs(changed[0] - loss[0]) > 1e-3


# ---- cloning the best episodes


RETURNS, LENGTHS = [5.0, 20.0, 20.0, 8.0, 20.0, 20.0], [4, 5, 3, 4, 5, 9]


def six_episodes(toy):
    """Six of the toy's battles, cut to LENGTHS, with RETURNS paid at their ends: four tie, two of them in length too."""
    data = toy.select([int(np.argmax(toy.lengths >= length)) for length in LENGTHS])
    begin = list(zip(data.start, LENGTHS, strict=False))
    step = np.concatenate([np.arange(s, s + length) for s, length in begin])
    row = np.concatenate([np.arange(s + e, s + e + length + 1) for e, (s, length) in enumerate(begin)])
    start = np.concatenate([[0], np.cumsum(LENGTHS)])
    reward, ends = np.zeros(len(step), np.float32), np.zeros(len(step), bool)
    reward[start[1:] - 1], ends[start[1:] - 1] = RETURNS, True
    by_row = {name: getattr(data, name)[row] for name in ("obs", "state", "avail")}
    by_step = {"action": data.action[step], "reward": reward, "terminated": ends, "truncated": np.zeros_like(ends)}
    return replace(data, **by_row, **by_step, start=start, win=np.array(RETURNS) == 20, id=np.array([9, 4, 7, 5, 1, 3]))


@pytest.mark.parametrize(
    ("share", "kept"),
    [(1 / 6, [2]), (2 / 6, [1, 2]), (3 / 6, [1, 2, 4]), (4 / 6, [1, 2, 4, 5]), (5 / 6, [1, 2, 3, 4, 5]), (0.01, [2])],
)
def test_the_best_episodes_by_return_then_by_speed_then_the_first(share, kept, toy):
    """By hand, with ties: kept in the data's order, and at least one; all of them are the data as they are."""
    data = six_episodes(toy)
    assert data.returns.tolist() == RETURNS and data.lengths.tolist() == LENGTHS
    best = best_episodes(data, share, 0.99)
    assert best.id.tolist() == data.id[kept].tolist()
    assert len(best.reward) == data.lengths[kept].sum() and best.returns.tolist() == data.returns[kept].tolist()
    assert best_episodes(data, 1.0, 0.99) is data


@pytest.mark.slow
def test_top_share_clones_the_best_episodes_and_nothing_else(toy, small, tmp_path, monkeypatch):
    """A cell with top_share 0.1 has the policies of cloning the kept episodes; its other rows are of the whole data set."""
    from omac.study import cell

    monkeypatch.setattr(cell, "BUILD", tmp_path / "build")
    toy.select(range(200)).save(tmp_path / "episodes" / "toy-line-random-100.h5")
    toy.select(range(200, 300), sample_of=300).save(tmp_path / "episodes" / "toy-line-random-held.h5")
    given = {"profile": "smoke", "folder": tmp_path, "progress": False}
    rows, trained, data = cell.run_cell("toy-line-random-100", "bc", "top_10", **given)
    hyper, _, seeds = cell.cell_settings(load_params(), "toy-line-random-100", "bc", "top_10", "smoke")
    kept = best_episodes(data, 0.1, hyper.gamma)
    assert hyper.top_share == 0.1 and len(kept) == 20 and len(data) == 200
    assert kept.returns.min() > np.sort(data.returns)[-21] - 1e-3
    alone = train(kept, "bc", replace(hyper, top_share=1.0), seeds, progress=False)
    for k, x in alone.snapshots[-1]["policy"].items():
        assert torch.equal(trained.snapshots[-1]["policy"][k], x)
    whole = train(data, "bc", replace(hyper, top_share=1.0), seeds, progress=False)
    assert any(not torch.equal(whole.snapshots[-1]["policy"][k], x) for k, x in alone.snapshots[-1]["policy"].items())
    assert rows[rows.kind == "data"].episodes.item() == 200 and "top_share" in bc.READS

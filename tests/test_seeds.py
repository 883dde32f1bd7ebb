"""The seed axis and determinism: seeds never meet, runs repeat, interrupted runs end as uninterrupted ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from omac.algorithms import REGISTRY
from omac.nn.networks import AgentMLP, Head, generators
from omac.nn.rows import PackedObservations
from omac.paths import ROOT
from omac.training import checkpoint, trainer
from omac.training.checkpoint import fingerprint, read_checkpoint
from omac.training.replay import Replay
from omac.training.trainer import Diverged, clip_per_seed, train


def final(trained):
    return trained.snapshots[-1]["policy"]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sorted(REGISTRY))
def test_seed_3_in_a_stack_of_five_equals_seed_3_alone(algorithm, toy, small):
    five, one = (
        train(toy, algorithm, small, [0, 1, 2, 3, 4], progress=False),
        train(toy, algorithm, small, [3], progress=False),
    )
    for k, x in final(one).items():
        torch.testing.assert_close(final(five)[k][3:4], x, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(final(five)[k][2:3], x)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sorted(REGISTRY))
def test_the_same_seeds_give_the_same_bytes(algorithm, toy, small):
    a, b = (train(toy, algorithm, small, [0, 1], progress=False) for _ in range(2))
    assert all(torch.equal(x, final(b)[k]) for k, x in final(a).items()) and a.log == b.log


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["joint", "value", "policy"])
@pytest.mark.parametrize("at", [25, 39])
def test_a_killed_run_resumes_and_ends_with_the_same_numbers(at, phase, toy, small, tmp_path, monkeypatch):
    """With two policies of each seed; in the midst of both, of the values, or of the policies."""
    hyper = replace(small, schedule="joint" if phase == "joint" else "sequential")
    policies = {"published": hyper, "sharp": replace(hyper, beta=15.0)}
    whole = train(toy, "omac", hyper, [0, 1], policies, progress=False)
    step, seen = trainer.Trainer.step, []

    def dying(self, n, name):
        seen.append((name, n))
        if (name, n) == (phase, at) and seen.count((name, n)) == 1:
            raise Killed
        step(self, n, name)

    monkeypatch.setattr(trainer.Trainer, "step", dying)
    path = tmp_path / "run.pt"
    with pytest.raises(Killed):
        train(toy, "omac", hyper, [0, 1], policies, path, progress=False)
    resumed = train(toy, "omac", hyper, [0, 1], policies, path, progress=False)
    assert seen.count((phase, at)) == 2  # what the checkpoint held was not done again
    assert all(seen.count((name, n)) == 1 for name, n in seen if name != phase or n < 20)
    assert all(torch.equal(x, final(resumed)[k]) for k, x in final(whole).items())
    assert resumed.log == whole.log and len(resumed.snapshots) == len(whole.snapshots)


@pytest.mark.slow
def test_a_finished_run_is_not_done_again_and_another_runs_checkpoint_is_not_used(
    toy, small, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "run.pt"
    first = train(toy, "omac", small, [0], checkpoint=path, progress=False)
    other = train(toy, "omac", replace(small, tau=0.8), [0], checkpoint=path, progress=False)
    assert "beginning anew" in capsys.readouterr().out
    assert not torch.equal(next(iter(final(first).values())), next(iter(final(other).values())))
    monkeypatch.setattr(trainer.Trainer, "step", None)
    again = train(toy, "omac", replace(small, tau=0.8), [0], checkpoint=path, progress=False)
    for found, wanted in ((final(again), final(other)), (again.nets.state_dict(), other.nets.state_dict())):
        assert found.keys() == wanted.keys() and all(torch.equal(x, found[k]) for k, x in wanted.items())
    assert again.log == other.log and all(np.array_equal(x, again.probe[k]) for k, x in other.probe.items())


def test_a_finished_checkpoint_holds_the_networks_and_no_optimiser(toy, small, tmp_path):
    """Figure 4 is made from them: a file that holds the optimiser in their place would give fresh networks."""
    quick = replace(small, steps=2, policy_steps=2, eval_every=2)
    trained = train(toy, "omac", quick, [0], checkpoint=tmp_path / "a.pt", progress=False)
    saved = read_checkpoint(tmp_path / "a.pt")
    assert saved["adam"] is None and saved["step"] == 4
    assert saved["nets"].keys() == trained.nets.state_dict().keys()
    assert all(torch.equal(x, saved["nets"][k]) for k, x in trained.nets.state_dict().items())


def test_a_checkpoint_belongs_to_the_code_of_its_algorithm_and_of_those_that_it_builds_on(toy, small, monkeypatch):
    """Else a run would go on with another algorithm than it began with."""
    normal = checkpoint.source_hash.normal

    def mark(changed):
        text = (ROOT / "omac" / "algorithms" / f"{changed}.py").read_text()
        monkeypatch.setattr(
            checkpoint.source_hash, "normal", lambda source: normal(source) + "x = 1" * (source == text)
        )
        return fingerprint([toy, None], "omar", [small], [0])

    found = {name: mark(name) for name in ("bcq", "bc", "omar", "cql", "common")}
    assert found["bcq"] == found["bc"] and len(set(found.values())) == 4


@pytest.mark.parametrize("algorithm", sorted(REGISTRY))
def test_q_tot_start_is_the_mean_of_q_tot_where_held_out_episodes_begin(algorithm, toy, small):
    """Claims about overestimation rest on it."""
    held, module = toy.select(range(250, 300)), REGISTRY[algorithm]
    made = trainer.Trainer(toy, module, small, [0, 1], held=held)
    found = made.final_diagnostics().get("q_tot_start")
    assert "q_tot_start" not in trainer.Trainer(toy, module, small, [0, 1]).final_diagnostics()
    if algorithm == "bc":
        assert found is None
        return
    each = []
    for e in range(50):
        batch = Replay(held, small).at(torch.tensor([[int(held.start[e])]] * 2))
        each.append(module.diagnose(made.nets, batch, small)["q_tot"][:, 0])
    torch.testing.assert_close(torch.tensor(found), torch.stack(each).mean(0).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", sorted(REGISTRY))
def test_policies_and_values_learn_at_their_own_rates(algorithm, toy, small):
    made = trainer.Trainer(toy, REGISTRY[algorithm], replace(small, lr_value=1e-3, lr_policy=1e-4), [0])
    rates = {id(p): group["lr"] for group in made.optimiser.param_groups for p in group["params"]}
    found = {group: {rates[id(p)] for p in parameters} for group, parameters in made.groups.items()}
    assert found == {group: {1e-4 if group == "pi" else 1e-3} for group in REGISTRY[algorithm].GROUPS}


@pytest.mark.slow
def test_an_unreadable_checkpoint_is_named(toy, small, tmp_path):
    (tmp_path / "run.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"run\.pt cannot be read .* delete it"):
        train(toy, "omac", small, [0], checkpoint=tmp_path / "run.pt", progress=False)


def test_gradients_are_clipped_per_seed():
    p = torch.nn.Parameter(torch.zeros(3, 4, 5))
    q = torch.nn.Parameter(torch.zeros(3, 1, 5))
    p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    p.grad[1] *= 0.001
    q.grad[1] *= 0.001
    norms = clip_per_seed([p, q], 1.0)
    np.testing.assert_allclose(norms, [5, 0.005, 5], rtol=1e-5)
    after = (p.grad.flatten(1).square().sum(1) + q.grad.flatten(1).square().sum(1)).sqrt()
    np.testing.assert_allclose(after, [1, 0.005, 1], rtol=1e-4)


def test_a_nan_in_one_seed_leaves_the_others_untouched():
    net = AgentMLP(generators([0, 1]), 2, 3, 8, 2)
    x = torch.randn(2, 4, 2, 3)
    clean = net(x)[1]
    with torch.no_grad():
        net.first.weight[0] = float("nan")
    out = net(x)
    assert out[0].isnan().all() and torch.equal(out[1], clean)
    out.square().sum((1, 2, 3)).sum().backward()
    norms = clip_per_seed(list(net.parameters()), 1.0)
    assert norms[0].isnan() and norms[1].isfinite()
    assert all(p.grad[1].isfinite().all() for p in net.parameters())


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_cell_and_names_seed_step_and_loss(toy, small, tmp_path):
    reward = toy.reward.copy()
    reward[:] = 1e25
    with pytest.raises(Diverged, match="seed 5, step 0: L_Q is inf"):
        train(replace(toy, reward=reward), "omac", small, [5], checkpoint=tmp_path / "x.pt", progress=False)
    assert not (tmp_path / "x.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("temperatures", [["published"], ["published", "sharp"]], ids=len)
def test_a_gradient_that_is_not_finite_stops_the_cell_too_and_names_the_policy(temperatures, toy, small, monkeypatch):
    from omac.algorithms import omac

    loss = omac.policy_loss

    def broken(nets, batch, signal, hypers):
        """The loss, with a gradient that is no number for the last policy."""
        return loss(nets, batch, signal, hypers) + (nets.pi.first.bias[-1] * 0).sqrt().sum()

    monkeypatch.setattr(omac, "policy_loss", broken)
    which = ", sharp" if len(temperatures) > 1 else ""
    with pytest.raises(Diverged, match=f"seed 4{which}, step 0: norm_pi is nan"):
        train(toy, "omac", small, [4], dict.fromkeys(temperatures, small), progress=False)


def test_a_checkpoint_belongs_to_every_field_of_its_datas_digest(toy, small):
    from omac.data.validation import FIELDS

    fields = [name for name in FIELDS if name not in ("obs", "state")]  # simulator and actions determine these

    marks = {fingerprint([toy, None], "omac", [small, small], [0])}
    for name in fields:
        x = getattr(toy, name).copy()
        x[-1] = ~x[-1] if x.dtype == bool else x[-1] + 1
        marks.add(fingerprint([replace(toy, **{name: x}), None], "omac", [small, small], [0]))
    assert len(marks) == 1 + len(fields)
    for parts, algorithm, seeds in (([toy, None], "bc", [0]), ([toy, None], "omac", [1]), ([toy, toy], "omac", [0])):
        assert fingerprint(parts, algorithm, [small, small], seeds) not in marks
    sharp = replace(small, beta=15.0)
    for hypers in ([sharp, small], [small, sharp], [small], [small, small, sharp]):
        assert fingerprint([toy, None], "omac", hypers, [0]) not in marks


@pytest.mark.slow
def test_the_device_is_checked_by_name(toy, small):
    for name, words in (
        ("tpu", "choose auto, cpu, cuda or cuda:"),
        *([] if torch.cuda.is_available() else [("cuda", "sees no GPU")]),
    ):
        with pytest.raises(ValueError, match=words):
            train(toy, "bc", small, [0], device=name, progress=False)


@pytest.mark.slow
def test_seeds_differ_in_initialisation_and_batches(toy, small):
    net = AgentMLP(generators([0, 1, 0]), 2, 3, 8, 2)
    assert torch.equal(net.first.weight[0], net.first.weight[2]) and not torch.equal(
        net.first.weight[0], net.first.weight[1]
    )
    batch = Replay(toy, small).draw([0, 1, 0], 3)
    o = batch.o.dense()
    assert torch.equal(o[0], o[2]) and not torch.equal(o[0], o[1])


def test_each_seed_has_a_generator_of_its_own_and_torchs_is_left_alone():
    before = torch.get_rng_state()
    both, alone = generators([0, 1]), generators([0])[0]
    drawn = [torch.rand(5, generator=g) for g in (both[1], both[0], alone)]
    assert torch.equal(drawn[1], drawn[2]) and not torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_agent_id_as_a_bias_equals_a_concatenated_one_hot():
    net = AgentMLP(generators([0]), 3, 5, 8, 2)
    x = torch.randn(1, 7, 3, 5)
    weight = torch.cat([net.first.weight, net.agent], 1)[0]
    h = (torch.cat([x, torch.eye(3).expand(1, 7, 3, 3)], -1) @ weight + net.first.bias[0, 0]).relu()
    torch.testing.assert_close(net(x), net.rest(h.view(1, 21, -1)).view(1, 7, 3, 2))


def test_an_output_layer_computed_transposed_gives_what_the_plain_product_gives():
    head = Head(generators([0, 1]), 8, 3)
    x = torch.randn(2, 7, 8, requires_grad=True)
    seen = []
    for y in (head(x), x @ head.weight + head.bias):
        seen.append([y, *torch.autograd.grad(y.sin().sum(), [x, *head.parameters()])])
    for fast, plain in zip(*seen, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-6)


def test_packed_observations_equal_the_dense_ones_and_hold_what_no_one_sees_once():
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(40, 3, 7)).astype(np.float32)
    obs *= rng.random((40, 3, 1)) > 0.4  # the dead see nothing
    obs[:2], obs[2:4] = 0, 1  # views in which everyone is dead, and everyone alive
    obs[..., [0, 5]] = 0  # columns that are empty throughout
    packed = PackedObservations(obs)
    views = np.stack([rng.integers(40, size=25), np.repeat([0, 1], [12, 13]), np.full(25, 2)])  # mixed, dead, alive
    rows = packed.at(torch.from_numpy(views))
    np.testing.assert_array_equal(rows.dense().numpy(), obs[views])
    assert rows.shape == (3, 25, 3, 7) and rows.columns.tolist() == [1, 2, 3, 4, 6]
    filled = obs[views].any(-1).sum((1, 2))  # rows that something is seen in, for each seed: some, none, all
    assert rows.x.shape == (3, 3 + filled.max(), 5 + 3) and filled.tolist()[1:] == [0, 75] and 0 < filled[0] < 75
    ids = rows.x[..., 5:].gather(1, rows.place.flatten(1)[..., None].expand(-1, -1, 3)).view(3, 25, 3, 3)
    assert torch.equal(ids, torch.eye(3).expand(3, 25, 3, 3))  # each row holds the id of the agents that it stands for


@pytest.mark.slow
def test_rows_kept_once_give_what_dense_observations_give(toy, small):
    """A third of the agents sees nothing: outputs and gradients of Rows and of dense observations agree to rounding."""
    alive = np.random.default_rng(0).random(toy.obs.shape[:2]) > 1 / 3
    data = replace(toy, obs=toy.obs * alive[..., None] * (np.arange(6) != 4))  # and no one sees a fifth column
    batch = Replay(data, small).draw([0, 1, 2], 0)
    row = data.rows()[1][np.random.default_rng([1, 0]).integers(len(data.reward), size=small.batch_size)]
    np.testing.assert_array_equal(batch.o.dense()[1].numpy(), data.obs[row])
    np.testing.assert_array_equal(batch.o_next.dense()[1].numpy(), data.obs[row + 1])
    assert batch.o.shape == batch.o.dense().shape == (3, small.batch_size, 2, 6)
    assert batch.o.x.shape[1] < 0.85 * small.batch_size * 2 and batch.o.x.shape[2] == 5 + 2  # what saves the time
    net, seen = AgentMLP(generators([0, 1, 2]), 2, 6, 16, 3), []
    for o in (batch.o.dense(), batch.o):
        net.zero_grad()
        y = net(o)
        (y.sin() * batch.r[..., None, None]).sum().backward()
        seen.append([y, *(p.grad.clone() for p in net.parameters())])
    for dense, compact in zip(*seen, strict=True):
        torch.testing.assert_close(compact, dense, rtol=1e-4, atol=1e-6)

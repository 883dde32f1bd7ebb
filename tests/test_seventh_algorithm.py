"""What a module of omac/algorithms must provide, for every entry of the registry and for the examples to add.

Add your module to REGISTRY and run this file: each message says what is missing.
"""

import sys
from dataclasses import fields, replace

import pytest
import torch

from omac import algorithms, schema
from omac.algorithms import REGISTRY
from omac.config.hyper import Hyper
from omac.evaluation import BatchedPolicy, battle_seeds, evaluate
from omac.nn.networks import generators
from omac.nn.policy import log_pi
from omac.paths import ROOT
from omac.plots import style
from omac.study import cell
from omac.training import source_hash, trainer
from omac.training.replay import Replay
from omac.training.trainer import train

sys.path.insert(0, str(ROOT / "examples"))
import marwil  # noqa: E402
import vdn  # noqa: E402

pytestmark = pytest.mark.slow

EXAMPLES = {"marwil": marwil, "vdn": vdn}


@pytest.fixture(params=[*REGISTRY, *EXAMPLES])
def name(request, monkeypatch):
    """The name of an algorithm in the registry: one of ours, or an example's, registered for the test."""
    if request.param in EXAMPLES:
        monkeypatch.setitem(REGISTRY, request.param, EXAMPLES[request.param])
    return request.param


@pytest.fixture
def alg(name):
    return algorithms.get(name)


class Seen(Hyper):
    """Hyper that remembers which settings were read."""

    def __getattribute__(self, setting):
        if setting in type(self).__dataclass_fields__:
            object.__getattribute__(self, "__dict__").setdefault("_seen", set()).add(setting)
        return object.__getattribute__(self, setting)


def losses_of(alg, nets, batch, hyper):
    found, signal = alg.value_loss(nets, batch, hyper)
    if hasattr(alg, "policy_loss"):
        found = {**found, "L_pi": alg.policy_loss(nets, batch, signal, hyper)}
    return found, signal


def tensors(x):
    return [x] if isinstance(x, torch.Tensor) else []


def test_it_has_the_functions_and_its_groups_and_targets_name_networks(name, alg, toy, small):
    for part in ("build", "value_loss", "diagnose", "logits", "GROUPS", "TARGETS", "READS"):
        assert hasattr(alg, part), f"{name} has no {part}: see the list at the top of omac/algorithms/__init__.py"
    nets = alg.build(toy.spec, small, generators([0, 1]))
    there = {k for k, _ in nets.named_children()}
    grouped = [part for group in alg.GROUPS.values() for part in group]
    assert set(grouped) <= there, f"{name}: GROUPS names {set(grouped) - there}, which build does not make"
    assert len(grouped) == len(set(grouped)), (
        f"{name}: a network of GROUPS stands in two groups and would be clipped twice"
    )
    pairs = {part for pair in alg.TARGETS for part in pair}
    assert pairs <= there, f"{name}: TARGETS names {pairs - there}, which build does not make"
    copies = {target for _, target in alg.TARGETS}
    assert there == set(grouped) | copies, (
        f"{name}: {there - set(grouped) - copies} would never be trained: name it in GROUPS"
    )
    for k, p in nets.named_parameters():
        trains = k.split(".")[0] in grouped
        assert p.requires_grad == trains, f"{name}: {k} requires_grad is {p.requires_grad}; targets must not be trained"
        assert p.shape[0] == 2, (
            f"{name}: {k} has shape {tuple(p.shape)}; the first axis is the seed: build from omac.nn.networks"
        )
    for online, target in alg.TARGETS:
        for k, p in getattr(nets, target).named_parameters():
            same = dict(getattr(nets, online).named_parameters())[k]
            assert torch.equal(p, same), f"{name}: {target}.{k} does not start as a copy of {online}"


def test_losses_are_one_number_per_seed_and_train_every_group(name, alg, toy, small):
    nets, batch = alg.build(toy.spec, small, generators([0, 1])), Replay(toy, small).draw([0, 1], 0)
    found, signal = losses_of(alg, nets, batch, small)
    for k, x in found.items():
        assert x.shape == (2,), f"{name}: {k} has shape {tuple(x.shape)}; a loss is [K], never averaged over seeds"
    assert all(not x.requires_grad for x in tensors(signal)), f"{name}: detach what value_loss hands to policy_loss"
    torch.stack(list(found.values())).sum().backward()
    for group, parts in alg.GROUPS.items():
        got = [
            p.grad is not None and p.grad.abs().max() > 0 for part in parts for p in getattr(nets, part).parameters()
        ]
        assert any(got), f"{name}: no loss sends a gradient to group {group}"
    for k, x in alg.diagnose(nets, batch, small).items():
        assert x.shape[0] == 2 and x.dim() <= 2, (
            f"{name}: diagnose's {k} has shape {tuple(x.shape)}; it is [K] or [K,B]"
        )
        assert not x.requires_grad, f"{name}: diagnose's {k} needs @torch.no_grad()"


def test_the_log_has_losses_gradient_norms_and_what_can_be_known_of_its_values(name, alg, toy, small):
    row = train(toy, name, small, [0], progress=False).log[-1]
    wanted = {f"norm_{g}" for g in alg.GROUPS} | {"entropy", "log_likelihood", "agreement"}
    if alg.TARGETS:
        wanted |= {"q_tot", "td_error", "return_followed", "q_correlation"}
    if ("mix", "mix_bar") in alg.TARGETS:
        wanted |= {"w_v", "w_q"}
    assert wanted <= set(row), f"{name}: {sorted(wanted - set(row))} are not logged: add them to diagnose"


def test_the_seeds_of_a_stack_never_meet(name, toy, small):
    hyper = replace(small, steps=20)
    three, one = (train(toy, name, hyper, seeds, progress=False).snapshots[-1]["policy"] for seeds in ([0, 3, 5], [3]))
    for k, x in one.items():
        message = (
            f"{name}: seed 3 among others ends with another {k} than alone: something is averaged or drawn over seeds"
        )
        torch.testing.assert_close(three[k][1:2], x, rtol=1e-4, atol=1e-5, msg=message)


def test_an_interrupted_run_ends_as_an_uninterrupted_one(name, toy, small, tmp_path, monkeypatch):
    whole, step = train(toy, name, small, [0, 1], progress=False), trainer.Trainer.step

    def dying(self, n, phase):
        if n == 30:
            raise KeyboardInterrupt
        step(self, n, phase)

    with monkeypatch.context() as m:
        m.setattr(trainer.Trainer, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(toy, name, small, [0, 1], tmp_path / "run.pt", progress=False)
    again = train(toy, name, small, [0, 1], tmp_path / "run.pt", progress=False)
    assert again.log == whole.log, (
        f"{name}: a resumed run differs: state outside of nets, or random numbers not from batch.key"
    )
    for k, x in whole.snapshots[-1]["policy"].items():
        assert torch.equal(x, again.snapshots[-1]["policy"][k]), f"{name}: {k} of a resumed run differs"


def test_what_acts_is_what_the_snapshots_keep_and_plays_available_actions(name, alg, toy, small):
    trained = train(toy, name, small, [0, 1], progress=False)
    states = [s["policy"] for s in trained.snapshots]
    kept, acts = set(states[-1]), set(alg.logits(trained.nets).state_dict())
    assert kept == acts, f"{name}: logits(nets) must give the same networks every time"
    scores = evaluate("toy:line", trained.policy, states, battle_seeds(5, shape=(4, 6)))  # an unavailable action raises
    assert scores.returns.shape == (4, 6)
    n, A = toy.spec.n, toy.spec.actions
    act = BatchedPolicy.of(trained.policy, states[-1:], toy.spec.horizon)
    for a in range(A):  # whatever the values say, the only available action is taken
        only = torch.nn.functional.one_hot(torch.full((50, n), a), A).bool().numpy()
        assert (act(toy.obs[:50], only, None, None) == a).all(), f"{name}: acts where an action is not available"


def test_the_schedules_that_it_has(name, alg, toy, small):
    hyper = replace(small, schedule="sequential")
    if not hasattr(alg, "policy_loss"):
        with pytest.raises(ValueError, match=f"{name} acts by its values and has no policy to learn after them"):
            train(toy, name, hyper, [0], progress=False)
        return
    joint, after = (train(toy, name, h, [0], progress=False) for h in (small, hyper))
    for group, parts in alg.GROUPS.items():
        for x, y in (
            pair
            for part in parts
            for pair in zip(getattr(joint.nets, part).parameters(), getattr(after.nets, part).parameters(), strict=True)
        ):
            same = torch.equal(x, y)
            assert same or group == "pi", f"{name}: the values of a sequential run differ: they depend on the policy"


def test_reads_names_the_settings_that_it_reads_and_no_others(name, alg, toy):
    """Over every choice of a setting that has choices, so that no branch is missed."""
    found = set()
    common = {"hidden": 8, "cca_hidden": 8, "steps": 20, "eval_every": 20, "batch_size": 8}
    choices = {f.name: f.metadata["among"] for f in fields(Hyper) if f.metadata["among"] and f.name in alg.READS}
    for change in [{}] + [{k: v} for k, values in choices.items() for v in values]:
        hyper = Seen(**common, **change)
        hyper.__dict__["_seen"] = set()
        nets, batch = alg.build(toy.spec, hyper, generators([0])), Replay(toy, Hyper(**common)).draw([0], 0)
        losses_of(alg, nets, batch, hyper)
        alg.diagnose(nets, batch, hyper)
        found |= hyper.__dict__["_seen"]
    assert found == set(alg.READS), f"{name}: READS and what is read differ in {sorted(found ^ set(alg.READS))}"


@pytest.mark.parametrize("variant", ["wo_cvf", "wo_cca", "tau_05", "tau_08", "maxq"])
def test_a_variant_that_changes_nothing_for_it_is_refused(name, variant, toy, tmp_path, monkeypatch):
    toy.select(range(20)).save(tmp_path / "episodes" / "toy-line-random-100.h5")
    toy.select(range(20, 30)).save(tmp_path / "episodes" / "toy-line-random-held.h5")
    monkeypatch.setattr(cell, "BUILD", tmp_path)
    monkeypatch.setattr(cell, "train", lambda *a, **k: 1 / 0)  # stands for: it would be trained
    with pytest.raises(
        *((ZeroDivisionError,) if name == "omac" else (ValueError, f"{name} does not read"))[:1]
    ) as error:
        cell.run_cell("toy-line-random-100", name, variant, "smoke", folder=tmp_path, progress=False)
    assert name == "omac" or f"{name} does not read" in str(error.value)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_algorithm_of_the_project_has_a_name_a_colour_and_a_stage_of_its_own(name):
    for where, there in (
        ("schema.NAMES", schema.NAMES),
        ("plots/style.COLOURS", style.COLOURS),
        ("schema.LABEL", schema.LABEL),
        ("source_hash.EXPORTS", source_hash.EXPORTS),
    ):
        assert name in there, f"{name} is not in {where}"
    colours = [style.COLOURS[a] for a in (*REGISTRY, "data")]
    assert len(set(colours)) == len(colours)


def test_vdn_is_q_learning_of_the_sum_in_plain_loops(toy, small):
    nets, batch = vdn.build(toy.spec, small, generators([0, 1])), Replay(toy, small).draw([0, 1], 0)
    for p in nets.q_bar.parameters():  # a target that differs from its network
        p.add_(0.1)
    found, want = vdn.value_loss(nets, batch, small)[0]["L_Q"], []
    q, q_bar = nets.q(batch.o), nets.q_bar(batch.o_next)
    K, B, n, A = q.shape
    for k in range(K):
        errors = []
        for b in range(B):
            best = sum(max(q_bar[k, b, i, a] for a in range(A) if batch.avail_next[k, b, i, a]) for i in range(n))
            y = batch.r[k, b] + small.gamma * (1 - batch.done[k, b]) * best
            errors.append((y - sum(q[k, b, i, batch.a[k, b, i]] for i in range(n))) ** 2)
        want.append(torch.stack(errors).mean())
    torch.testing.assert_close(found, torch.stack(want))


def test_marwil_fits_v_to_the_return_that_followed_and_clones_at_beta_zero(toy, small):
    nets, batch = marwil.build(toy.spec, small, generators([0, 1])), Replay(toy, small).draw([0, 1], 0)
    found, adv = marwil.value_loss(nets, batch, small)
    torch.testing.assert_close(adv, batch.ret[..., None] - nets.v(batch.o)[..., 0])
    torch.testing.assert_close(found["L_V"], adv.square().mean((1, 2)))
    clone = marwil.policy_loss(nets, batch, adv, replace(small, beta=0.0))
    torch.testing.assert_close(clone, -log_pi(nets.pi, batch, small).mean((1, 2)))

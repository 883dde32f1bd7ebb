"""What a module of omac/algorithms must provide, for every entry of the registry and for the examples to add.

Add your module to REGISTRY and run this file: each message says what is missing.
"""

import sys
from dataclasses import fields, replace

import pytest
import torch
from handmade import scaled

from omac import algorithms, schema
from omac.algorithms import REGISTRY
from omac.config.hyper import Hyper
from omac.evaluation import BatchedPolicy, battle_seeds, evaluate
from omac.nn.networks import generators
from omac.nn.policy import log_pi, repeat_parameters
from omac.paths import ROOT
from omac.plots import style
from omac.study import cell
from omac.training import source_hash, trainer
from omac.training.replay import Replay
from omac.training.trainer import Trainer, train

sys.path.insert(0, str(ROOT / "examples"))
import marwil  # noqa: E402
import vdn  # noqa: E402

pytestmark = pytest.mark.slow

EXAMPLES = {"marwil": marwil, "vdn": vdn}
READ_ELSEWHERE = {"schedule", "top_share"}  # by the trainer, and by study/cell, on an algorithm's behalf


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


def learns_values(alg):
    return bool(set(alg.GROUPS) - {"pi"})


def policies_come_after(alg):
    """Whether it has policies that are learned on finished values, by default."""
    return hasattr(alg, "policy_loss") and not getattr(alg, "COUPLED", False)


def policies(alg, nets, batch, signal, *hypers):
    """(the losses of a policy for each of `hypers` {"L_pi": [K,P]}, {} where the values act; what is logged of what acts)."""
    signal = scaled(alg, signal, *hypers)
    found = {"L_pi": alg.policy_loss(nets, batch, signal, hypers)} if hasattr(alg, "policy_loss") else {}
    return found, alg.diagnose_policy(nets, batch, signal, hypers)


def test_it_has_the_functions_and_its_groups_and_targets_name_networks(name, alg, toy, small):
    parts = ["build", "value_loss", "diagnose_policy", "logits", "GROUPS", "TARGETS", "READS"]
    if learns_values(alg):
        parts += ["diagnose", "signal"] if policies_come_after(alg) else ["diagnose"]
    for part in parts:
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


def test_losses_are_one_number_per_seed_and_policy_and_train_every_group(name, alg, toy, small):
    nets, batch = alg.build(toy.spec, small, generators([0, 1])), Replay(toy, small).draw([0, 1], 0)
    found, signal = alg.value_loss(nets, batch, small)
    for k, x in found.items():
        assert x.shape == (2,), f"{name}: {k} has shape {tuple(x.shape)}; a loss is [K], never averaged over seeds"
    for k, x in signal.items():
        assert not x.requires_grad, f"{name}: detach what value_loss hands to policies: {k}"
        assert x.shape[:2] == batch.r.shape, f"{name}: the signal's {k} has shape {tuple(x.shape)}; it is [K,B,...]"
    of_policies, acts = policies(alg, nets, batch, signal, small)
    for k, x in {**of_policies, **acts}.items():
        assert x.shape == (2, 1), f"{name}: {k} has shape {tuple(x.shape)}; of one policy of each seed it is [K,1]"
    torch.cat([x.flatten() for x in {**found, **of_policies}.values()]).sum().backward()
    for group, parts in alg.GROUPS.items():
        got = [
            p.grad is not None and p.grad.abs().max() > 0 for part in parts for p in getattr(nets, part).parameters()
        ]
        assert any(got), f"{name}: no loss sends a gradient to group {group}"
    logged = alg.diagnose(nets, batch, small) if learns_values(alg) else {}
    for k, x in logged.items():
        assert x.shape[0] == 2 and x.dim() <= 2, (
            f"{name}: diagnose's {k} has shape {tuple(x.shape)}; it is [K] or [K,B]"
        )
    for k, x in {**logged, **acts}.items():
        assert not x.requires_grad, f"{name}: what is logged as {k} needs @torch.no_grad()"


def test_its_signal_by_itself_is_that_of_the_step(name, alg, toy, small):
    if not hasattr(alg, "signal"):
        pytest.skip("no policy reads finished values")
    nets, batch = alg.build(toy.spec, small, generators([0, 1])), Replay(toy, small).draw([0, 1], 0)
    step, alone = alg.value_loss(nets, batch, small)[1], alg.signal(nets, batch, small)
    assert set(step) == set(alone), f"{name}: signal and value_loss hand over different things"
    for k, x in alone.items():
        assert not x.requires_grad, f"{name}: signal needs @torch.no_grad()"
        assert torch.equal(step[k], x), f"{name}: {k} of signal is another than that of value_loss"


def test_its_policies_on_one_set_of_values_are_as_if_each_was_alone(name, alg, toy, small):
    """Three policies of each seed that differ in what the policy's loss reads."""
    if not policies_come_after(alg):
        pytest.skip("trains no policies side by side")
    hypers = [small, replace(small, beta=9.0, beta_policy=0.03), replace(small, beta=0.0, beta_policy=5.0)]
    nets, batch = alg.build(toy.spec, small, generators([0, 1])), Replay(toy, small).draw([0, 1], 0)
    signal = alg.value_loss(nets, batch, small)[1]
    alone = [policies(alg, nets, batch, signal, hyper) for hyper in hypers]
    repeat_parameters(alg.logits(nets), 3)
    of_stack = policies(alg, nets, batch, signal, *hypers)
    for place, x in enumerate(of_stack):
        for k, together in x.items():
            assert together.shape == (2, 3), f"{name}: {k} has shape {tuple(together.shape)}; it is [K,P]"
            torch.testing.assert_close(together, torch.cat([each[place][k] for each in alone], 1))


def test_the_log_has_losses_gradient_norms_and_what_can_be_known_of_its_values(name, alg, toy, small):
    row = {k: x for row in train(toy, name, small, [0], progress=False).log for k, x in row.items()}
    wanted = {f"norm_{g}" for g in alg.GROUPS} | {"entropy", "log_likelihood", "agreement", "temperature"}
    if alg.TARGETS:
        wanted |= {"q_tot", "td_error", "return_followed", "q_correlation"}
    if ("mix", "mix_bar") in alg.TARGETS:
        wanted |= {"w_v", "w_q"}
    assert wanted <= set(row), f"{name}: {sorted(wanted - set(row))} are not logged: add them to diagnose"


def test_the_seeds_of_a_stack_never_meet(name, toy, small):
    hyper = replace(small, steps=20, policy_steps=20)
    three, one = (train(toy, name, hyper, seeds, progress=False).snapshots[-1]["policy"] for seeds in ([0, 3, 5], [3]))
    for k, x in one.items():
        message = (
            f"{name}: seed 3 among others ends with another {k} than alone: something is averaged or drawn over seeds"
        )
        torch.testing.assert_close(three[k][1:2], x, rtol=1e-4, atol=1e-5, msg=message)


def test_an_interrupted_run_ends_as_an_uninterrupted_one(name, alg, toy, small, tmp_path, monkeypatch):
    """In each phase that it has."""
    whole, step = train(toy, name, small, [0, 1], progress=False), trainer.Trainer.step
    phases = [phase.name for phase in Trainer(toy, alg, small, [0]).phases()]
    for interrupted in phases:

        def dying(self, n, phase, interrupted=interrupted):
            if (phase, n) == (interrupted, 30):
                raise KeyboardInterrupt
            step(self, n, phase)

        path = tmp_path / f"{interrupted}.pt"
        with monkeypatch.context() as m:
            m.setattr(trainer.Trainer, "step", dying)
            with pytest.raises(KeyboardInterrupt):
                train(toy, name, small, [0, 1], checkpoint=path, progress=False)
        again = train(toy, name, small, [0, 1], checkpoint=path, progress=False)
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
    """Values first or side by side, with the same values; where they ask the policy, or act, there is one way alone."""
    hyper = replace(small, schedule="joint")
    ways = [[phase.name for phase in Trainer(toy, alg, h, [0]).phases()] for h in (small, hyper)]
    if not policies_come_after(alg):
        assert ways == [["joint"], ["joint"]], f"{name}: its values cannot be learned before its policy"
        assert "schedule" not in alg.READS, f"{name}: the schedule changes nothing for it"
        return
    assert ways == [["value", "policy"] if learns_values(alg) else ["policy"], ["joint"]]
    assert ("schedule" in alg.READS) == learns_values(alg), f"{name}: READS names schedule where it has both"
    after, joint = (train(toy, name, h, [0], progress=False) for h in (small, hyper))
    for group, parts in alg.GROUPS.items():
        for x, y in (
            pair
            for part in parts
            for pair in zip(getattr(joint.nets, part).parameters(), getattr(after.nets, part).parameters(), strict=True)
        ):
            same = torch.equal(x, y)
            assert same or group == "pi", (
                f"{name}: the values of a sequential run differ: they depend on the policy; say COUPLED = True"
            )


def test_reads_names_the_settings_that_it_reads_and_no_others(name, alg, toy):
    """Over every choice of a setting that has choices, so that no branch is missed."""
    found = set()
    common = {"hidden": 8, "cca_hidden": 8, "steps": 20, "policy_steps": 20, "eval_every": 20, "batch_size": 8}
    choices = {f.name: f.metadata["among"] for f in fields(Hyper) if f.metadata["among"] and f.name in alg.READS}
    for change in [{}] + [{k: v} for k, values in choices.items() for v in values]:
        hyper = Seen(**common, **change)
        hyper.__dict__["_seen"] = set()
        nets, batch = alg.build(toy.spec, hyper, generators([0])), Replay(toy, Hyper(**common)).draw([0], 0)
        policies(alg, nets, batch, alg.value_loss(nets, batch, hyper)[1], hyper)
        if learns_values(alg):
            alg.diagnose(nets, batch, hyper)
        found |= hyper.__dict__["_seen"]
    named = set(alg.READS) - READ_ELSEWHERE
    assert found == named, f"{name}: READS and what is read differ in {sorted(found ^ named)}"


VARIANTS = {  # of params.yaml: the algorithms for which each changes something
    **dict.fromkeys(("wo_cvf", "wo_cca", "tau_05", "tau_08", "maxq"), {"omac"}),
    "joint": {"omac", "icq", "marwil"},
    "top_10": {"bc"},
    "cql_critic": {"omar"},
    **dict.fromkeys(("no_credit", "sum_one"), {"icq"}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_that_changes_nothing_for_it_is_refused(name, variant, toy, tmp_path, monkeypatch):
    toy.select(range(20)).save(tmp_path / "episodes" / "toy-line-random-100.h5")
    toy.select(range(20, 30)).save(tmp_path / "episodes" / "toy-line-random-held.h5")
    monkeypatch.setattr(cell, "BUILD", tmp_path)
    monkeypatch.setattr(cell, "train", lambda *a, **k: 1 / 0)  # stands for: it would be trained
    changes = name in VARIANTS[variant]
    with pytest.raises(ZeroDivisionError if changes else ValueError) as error:
        cell.run_cell("toy-line-random-100", name, variant, "smoke", folder=tmp_path, progress=False)
    assert changes or f"{name} does not read" in str(error.value)


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
    found, signal = marwil.value_loss(nets, batch, small)
    adv = signal["advantage"]
    torch.testing.assert_close(adv, batch.ret[..., None] - nets.v(batch.o)[..., 0])
    torch.testing.assert_close(found["L_V"], adv.square().mean((1, 2)))
    clone = marwil.policy_loss(nets, batch, signal, (replace(small, beta=0.0),))
    torch.testing.assert_close(clone, -log_pi(nets.pi, batch, small).mean((2, 3)))

"""What a GPU would wait for: no step asks the device for a number. On torch's meta device there are none, and asking fails."""

from dataclasses import replace

import pytest
import torch

from omac import algorithms
from omac.training import trainer
from omac.training.diagnostics import FiniteWatch
from omac.training.trainer import Trainer


def test_on_the_meta_device_asking_for_a_number_fails():
    x = torch.ones(2, device="meta")
    for ask in (lambda: x.sum().item(), lambda: bool(x[0]), x.tolist, x.nonzero, lambda: x[x > 0]):
        with pytest.raises((RuntimeError, NotImplementedError)):
            ask()


SETTINGS = [(name, {}) for name in algorithms.REGISTRY]
SETTINGS += [("omac", {"schedule": "joint"}), ("omac", {"local_value": "max"}), ("omac", {"credit": "tied"})]
SETTINGS += [("omar", {"critic": "cql"}), ("icq", {"policy_credit": "sum_one"}), ("omac", {"mask_dead": True})]


@pytest.mark.parametrize(("name", "changed"), SETTINGS, ids=str)
def test_no_gradient_step_waits_for_the_device(name, changed, toy, small, monkeypatch):
    """But every CHECK_EVERY steps, where it is asked whether all is finite. The fused Adam has no meta device."""
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda groups, fused: adam(groups))
    run = Trainer(toy, algorithms.get(name), replace(small, **changed), [0, 1], device="meta")
    for phase in run.phases():
        if phase.name == "policy":
            run.finish_values()
        run.step(1, phase.name)
        with pytest.raises((RuntimeError, NotImplementedError)):
            run.step(trainer.CHECK_EVERY, phase.name)


def test_a_number_that_is_not_finite_is_remembered_with_its_first_step():
    watch, fine = FiniteWatch(), torch.ones(2, 3)
    watch.see(0, {"L_Q": torch.ones(2), "L_pi": fine})
    assert watch.found() is None
    broken = fine.clone()
    broken[1, 2] = torch.nan
    watch.see(1, {"L_Q": torch.ones(2), "L_pi": broken})
    watch.see(2, {"L_Q": torch.tensor([torch.inf, 1]), "L_pi": fine})
    step, name, place, x = watch.found()
    assert (step, name, place) == (1, "L_pi", (1, 2)) and x != x


def test_a_run_that_diverges_between_two_looks_says_so_before_a_row_is_written(toy, small, monkeypatch):
    monkeypatch.setattr(trainer, "CHECK_EVERY", 10**6)
    from omac.algorithms import bc

    loss, calls = bc.policy_loss, iter(range(10**6))
    monkeypatch.setattr(bc, "policy_loss", lambda *given: loss(*given) * (torch.nan if next(calls) == 3 else 1))
    with pytest.raises(trainer.Diverged, match="seed 0, step 3: L_pi is nan"):
        trainer.train(toy, "bc", small, [0], progress=False)

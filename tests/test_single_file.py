"""examples/omac_single_file.py is the package's OMAC: same parameters and batch, same losses, gradients and updates."""

import ast
import copy
import re
import sys
import textwrap
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from omac.algorithms import omac
from omac.config.hyper import Hyper
from omac.nn.networks import SeedLinear
from omac.paths import ROOT
from omac.training.replay import Replay
from omac.training.trainer import Trainer

sys.path.insert(0, str(ROOT / "examples"))
import omac_single_file as single  # noqa: E402

SEEDS, K = [4, 7], 1  # the package trains two seeds; the single file holds the second one
MIX = {"f_v1": "f_v1", "f_v2": "f_v2", "f_q1": "f_q1", "f_q2": "f_q2", "share": "v_share"}
OTHERS = {"tau": 0.9, "beta": 3.0, "gamma": 0.9, "polyak": 0.2, "lr_value": 2e-3, "lr_policy": 1e-3}
OTHERS |= {"max_weight": 1.2, "grad_clip": 0.05}  # both bite on these data; with the defaults neither does


@pytest.fixture(scope="module")
def file(toy, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "toy.h5"
    toy.save(path)
    return path


def linears(nets):
    """Every nn.Linear of the single file's networks, by name."""
    return {name: m for name, m in nets.named_modules() if isinstance(m, nn.Linear)}


def stacked(nets):
    """Seed K's linear maps of the package, (weight, bias) as nn.Linear keeps them, by the single file's names."""
    out = {}
    for name in ("v", "q", "pi", "v_bar", "q_bar"):
        net = getattr(nets, name)
        first, second, last = (m for m in net.modules() if isinstance(m, SeedLinear))
        whole = torch.cat([first.weight[K], net.agent[K]])  # the id's columns are the package's biases
        out[f"{name}.0"] = whole.T, first.bias[K, 0]
        out |= {f"{name}.{i}": (m.weight[K].T, m.bias[K, 0]) for i, m in ((2, second), (4, last))}
    for name in ("mix", "mix_bar"):
        for theirs, ours in MIX.items():
            maps = [
                m for m in getattr(getattr(nets, name), theirs, nn.Identity()).modules() if isinstance(m, SeedLinear)
            ]
            names = [f"{name}.{ours}"] if theirs in ("f_v2", "f_q2") else [f"{name}.{ours}.{i}" for i in (0, 2, 4)]
            out |= {n: (m.weight[K].T, m.bias[K, 0]) for n, m in zip(names, maps, strict=False)}
    return out


class Pair:
    """The package's Run of two seeds and the single file's networks, with the parameters of its seed K."""

    def __init__(self, toy, data, hyper, dtype=torch.float32):
        self.run, self.hyper, self.dtype = Trainer(toy, omac, hyper, SEEDS), hyper, dtype
        for p in self.run.target:  # targets that differ from their networks
            p.data.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())), alpha=0.1)
        self.run.nets.to(dtype)
        replay = self.run.replay
        for name in ("at", "for_policies"):
            setattr(replay, name, partial(self.batch_of, getattr(replay, name)))
        self.nets = single.Networks(data, hyper).to(dtype)
        known = stacked(self.run.nets)
        for name, layer in linears(self.nets).items():
            if name in known:
                layer.weight.data, layer.bias.data = (x.detach().clone() for x in known[name])
        self.adam_values, self.adam_policy = single.optimisers(self.nets, hyper)

    def batch_of(self, transitions, t, key=()):
        return self.cast(transitions(t, key))

    def cast(self, x):
        """A Batch of the package with its floats in this pair's precision."""
        if isinstance(x, torch.Tensor):
            return x.to(self.dtype) if x.is_floating_point() else x
        return x._replace(
            **{k: self.cast(y) for k, y in x._asdict().items() if y is not None and k not in ("key", "width")}
        )

    def batch(self, step):
        """The package's batch of a step, seed K's, as the single file takes it."""
        x = self.run.replay.draw(SEEDS, step)
        o, o_next = (single.add_id(y.dense()[K]) for y in (x.o, x.o_next))
        return single.Batch(o, o_next, *(getattr(x, name)[K] for name in single.Batch._fields[2:]))

    def update_values(self, step):
        """One update of the values of both. Returns two dicts of losses and gradient norms, the package's and the single file's."""
        losses, norms = single.update_values(self.nets, self.adam_values, self.batch(step), self.hyper)
        return self.both("value", step, {"L_V": losses[0], "L_Q": losses[1], "norm_v": norms[0], "norm_q": norms[1]})

    def update_policy(self, step):
        """The same of their policies, on the values as they are."""
        (loss,), (norm,) = single.update_policy(self.nets, self.adam_policy, self.batch(step), self.hyper)
        if self.run.signal is None:
            self.run.finish_values()
        return self.both("policy", step, {"L_pi": loss, "norm_pi": norm})

    def both(self, phase, step, ours):
        self.run.step(step, phase)
        theirs = {k: np.ravel(x[K]).item() for k, x in self.run.statistics.flush().items() if k in ours}
        return theirs, {k: x.item() for k, x in ours.items()}

    def updates(self, steps):
        """So many updates of the values, then as many of the policies; what each returns."""
        return [f(step) for f in (self.update_values, self.update_policy) for step in range(steps)]

    def distance(self):
        """The largest difference of a weight, over the largest weight of its layer."""
        ours, theirs = linears(self.nets), stacked(self.run.nets)
        assert set(ours) - set(theirs) == {f"mix_bar.{f}" for f in ("f_q1.0", "f_q1.2", "f_q2")}  # that no one reads
        pairs = [pair for k, x in theirs.items() for pair in zip((ours[k].weight, ours[k].bias), x, strict=True)]
        return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


@pytest.fixture(params=[{}, OTHERS], ids=["default", "other settings"])
def hyper(request, small):
    return replace(small, **request.param)


def test_its_settings_are_the_packages_and_have_the_same_defaults():
    known = Hyper()
    assert {f.name: getattr(known, f.name) for f in fields(single.Hyper)} == vars(single.Hyper())


def test_its_transitions_are_the_packages(toy, file):
    data, hyper = single.read(file, 0.9), replace(Hyper(), gamma=0.9)
    batch = Replay(toy, hyper).at(torch.arange(len(toy.reward))[None])
    wanted = {name: getattr(batch, name)[0] for name in single.Batch._fields[2:]}
    wanted |= {name: single.add_id(getattr(batch, name).dense()[0]) for name in ("o", "o_next")}
    assert all(torch.equal(x, wanted[name]) for name, x in data._asdict().items())
    assert data.done.sum() < len(toy) and not data.avail.all()  # time limits and masks are among them


def test_losses_and_gradient_norms_of_three_updates_equal_to_six_digits(toy, file, hyper):
    """float32. Measured over twenty pairs of seeds: losses within 2.3e-7, norms within 3.4e-7."""
    pair = Pair(toy, single.read(file, hyper.gamma), hyper)
    for theirs, ours in pair.updates(3):
        assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("updates", [1, 3])
def test_all_weights_are_equal_after_whole_updates(toy, file, hyper, updates):
    """float32, over the largest weight of a layer. Measured: at most 1.2e-7 here, 1.0e-6 over twenty pairs of seeds."""
    pair = Pair(toy, single.read(file, hyper.gamma), hyper)
    assert pair.distance() == 0
    pair.updates(updates)
    assert pair.distance() < 1e-6


def test_in_double_precision_nothing_but_rounding_is_left(toy, file, hyper):
    """Adam's first steps enlarge float32's rounding of small gradients. Measured over twenty pairs of seeds: 1e-15."""
    pair = Pair(toy, single.read(file, hyper.gamma), hyper, torch.float64)
    for theirs, ours in pair.updates(3):
        assert ours == pytest.approx(theirs, rel=1e-12)
    assert pair.distance() < 1e-12


def test_the_other_settings_clip_weights_and_gradients(toy, file, small):
    hyper = replace(small, **OTHERS)
    pair = Pair(toy, single.read(file, hyper.gamma), hyper)
    batch = pair.batch(0)
    clipped = single.awr_weight(single.advantage(pair.nets, batch), hyper.beta, hyper.max_weight) == hyper.max_weight
    assert 0 < clipped.sum() < clipped.numel()
    norms = {k: x for _, ours in pair.updates(1) for k, x in ours.items() if k.startswith("norm")}
    assert set(norms) == {"norm_v", "norm_q", "norm_pi"} and min(norms.values()) > hyper.grad_clip


def test_a_v_that_is_read_after_its_own_step_would_be_seen(toy, file, small):
    pair = Pair(toy, single.read(file, small.gamma), small)
    ahead = copy.deepcopy(pair.nets)
    single.update_values(ahead, single.optimisers(ahead, small)[0], pair.batch(0), small)
    pair.nets.v.load_state_dict(ahead.v.state_dict())
    for name, update in (("L_pi", pair.update_policy), ("L_Q", pair.update_values)):
        theirs, ours = update(0)
        assert abs(ours[name] / theirs[name] - 1) > 1e-5, f"{name} does not depend on V's own step: the tests are blind"


def test_its_summary_is_what_the_package_logs(toy, file, small):
    data = single.read(file, small.gamma)
    pair = Pair(toy, data, small)
    rows = torch.arange(len(data.r))[:: 1 + len(data.r) // 2_048]
    batch, hypers = pair.run.replay.at(rows.expand(2, -1)), (small,)
    seen = omac.diagnose(pair.run.nets, batch, small)
    signal = omac.scale(omac.signal(pair.run.nets, batch, small), hypers)
    spread = omac.diagnose_policy(pair.run.nets, batch, signal, hypers)
    wanted = [seen["q_tot"][K].mean(), data.ret[rows].mean(), spread["weight_mean"][K], spread["weight_std"][K]]
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", single.summary(pair.nets, data, small))]
    assert numbers == pytest.approx([x.item() for x in wanted], abs=6e-3)


def test_it_imports_nothing_of_the_package_and_names_each_equation():
    text = (ROOT / "examples" / "omac_single_file.py").read_text()
    tree = ast.parse(text)
    modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert not any(m.split(".")[0] == "omac" for m in modules)
    docs = [ast.get_docstring(n) or "" for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    for equation in (2, 3, 5, 6, 8):
        assert any(d.startswith(f"Eq. ({equation})") for d in docs), equation


@pytest.mark.slow
def test_the_script_trains_and_its_docstring_evaluates_the_policy(file, capsys, tmp_path, monkeypatch):
    few = ["--steps", "2", "--policy-steps", "2"]
    one, two = (single.main([str(file), *few, "--seed", "3"]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    printed = capsys.readouterr().out
    assert re.search(r"step 2: Q_tot \S+, return that followed \S+, exp\(beta A\) \S+ ± \S+\n", printed)
    assert re.search(r"policy step 2: loss of Eq. \(8\) \S+\n", printed) and "To evaluate this policy" in printed
    lines = textwrap.dedent(single.__doc__.split("examples/:\n")[1])
    lines = lines.replace('["DATA.h5"]', f'["{file}", "--steps", "2", "--policy-steps", "2"]').replace(
        "smax:6h_vs_8z", "toy:line"
    )
    scope = {}
    exec(lines, scope)
    assert len(scope["fought"]) == 32 and np.isfinite(scope["fought"].returns).all()


@pytest.mark.parametrize("name", ["missing.h5", "text.h5"])
def test_a_file_of_another_kind_is_named_in_one_line(name, tmp_path, capsys):
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(SystemExit):
        single.main([str(tmp_path / name)])
    assert re.search(rf"error: \S*{name} is not a file as .*\n$", capsys.readouterr().err)

"""Training: Algorithm 1 for any algorithm module, K seeds at once, with snapshots, checkpoints and exact resumption.

The batches are in training/replay.py, what a checkpoint holds is in training/state.py, what is logged is in
training/diagnostics.py.
"""

from dataclasses import replace
from typing import NamedTuple

import torch

from omac import algorithms
from omac.nn.networks import generators
from omac.nn.policy import repeat_parameters
from omac.progress import bar
from omac.schema import PUBLISHED
from omac.shapes import Array, Float, Int, Shaped, Tensor
from omac.training.checkpoint import fingerprint
from omac.training.diagnostics import (
    DIAGNOSTICS_BATCH,
    FINAL_DIAGNOSTICS_BATCH,
    FiniteWatch,
    StepStatistics,
    evenly_spaced,
    log_rows,
    rows_at,
)
from omac.training.parameters import clip_per_seed, parameter_groups, target_pairs
from omac.training.replay import Replay
from omac.training.state import TrainingResult, TrainState

CHECK_EVERY = 100  # steps between two looks at whether losses and gradients are finite: a look waits for the device
SIGNAL_CHUNK = 2_048  # transitions whose signal is computed at once, when the values are finished


class Diverged(RuntimeError):
    """A loss or gradient norm was not finite: names seed, step and loss. Nothing is written for that cell."""


class Phase(NamedTuple):
    """A part of training: "value", "policy", or "joint" for both side by side; the step that it begins at, and how many it has."""

    name: str
    begin: int
    steps: int


def pick_device(name="auto"):
    """Return the torch device for auto, cpu, cuda or cuda:<number>. Raises ValueError for a GPU that is not there, and other words."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, number = str(name).partition(":")
    if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"device is {name!r}; choose auto, cpu, cuda or cuda:<number>")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= there:
        seen = f"{there} GPU{'s' * (there > 1)}, from cuda:0 on" if there else "no GPU"
        raise ValueError(f"device is {name}, but torch sees {seen} here: choose one of these, cpu or auto")
    return torch.device(name)


def train(data, algorithm, hyper, seeds, policies=None, checkpoint=None, device="auto", progress=True, held=None):
    """Train an algorithm for every seed.

    Args:
        data: Episodes to train on.
        algorithm: its name in the registry.
        hyper: Hyper, the settings.
        seeds: K whole numbers.
        policies: {temperature: Hyper}, the settings of each policy that is trained on a seed's values. Default: one, of
            `hyper`. They may differ in what the policy's loss alone reads.
        checkpoint: path of a file, or None. It is written at every snapshot, and continued from when it belongs to the
            same data, settings, seeds and code. The result is that of a run without interruption.
        device: auto, cpu or cuda.
        progress: whether to show a bar.
        held: Episodes that are never trained on, or None. What is known of them is logged as held_*.
    Returns:
        TrainingResult.
    Raises:
        Diverged: a loss or gradient norm was not finite, CHECK_EVERY steps ago at most.
        ValueError: an unknown algorithm or device, or a checkpoint that cannot be read.
    """
    policies = policies or {PUBLISHED: hyper}
    trainer = Trainer(data, algorithms.get(algorithm), hyper, seeds, policies, pick_device(device), held)
    state = TrainState(trainer.nets, trainer.optimiser)
    if checkpoint:
        mark = fingerprint([data, held], algorithm, [hyper, *policies.values()], seeds)
        state.resume(checkpoint, mark)
    phases = trainer.phases()
    total = phases[-1].begin + phases[-1].steps
    with bar(f"{algorithm} {data.spec.map}" if progress else None, total, "step", state.step) as shown_bar:
        for phase in phases:
            if phase.name == "policy":
                trainer.finish_values()
            while state.step < phase.begin + phase.steps:
                # one update of all seeds
                step = state.step - phase.begin
                trainer.step(step, phase.name)
                state.step += 1
                shown_bar.update()
                # now and then a snapshot: the policies, rows, and a checkpoint to go on from
                if (step + 1) % hyper.eval_every == 0:
                    last = step + 1 == phase.steps
                    if phase.name != "value":
                        state.keep_policy(step + 1, trainer.policy)
                    state.log += trainer.rows(step + 1, phase.name, last)
                    if checkpoint:
                        state.save(checkpoint, mark, state.step == total)
    probe, held_probe = trainer.probes()
    return TrainingResult(state.snapshots, state.log, probe, held_probe, trainer.nets, trainer.policy, list(policies))


class Trainer:
    """K seeds in training: their data, networks and optimiser, and the updates of Algorithm 1."""

    def __init__(self, data, alg, hyper, seeds, policies=None, device="cpu", held=None):
        """Build the networks, their optimiser and the batches. Arguments as `train`; alg is the algorithm's module."""
        self.alg, self.hyper, self.seeds = alg, hyper, list(seeds)
        self.policies = policies or {PUBLISHED: hyper}
        self.hypers = tuple(self.policies.values())
        # the data; held-out ones are optional
        self.replay = Replay(data, hyper, device)
        self.held_out = None if held is None else Replay(held, hyper, device)
        # the networks; of that of the policies a copy for each temperature
        spec = data.spec
        if hyper.global_input == "joint_obs":
            spec = replace(spec, state=spec.n * spec.obs)
        self.nets = alg.build(spec, hyper, generators(seeds))
        self.learns_policy = hasattr(alg, "policy_loss")
        if self.learns_policy:
            repeat_parameters(alg.logits(self.nets), len(self.hypers))
        self.nets = self.nets.to(device)
        self.policy = alg.logits(self.nets)
        # their parameters: in groups to be clipped and moved, in pairs for the targets
        self.groups = parameter_groups(self.nets, alg.GROUPS)
        self.online, self.target = target_pairs(self.nets, alg.TARGETS)
        rates = {group: hyper.lr_policy if group == "pi" else hyper.lr_value for group in self.groups}
        self.optimiser = torch.optim.Adam([{"params": p, "lr": rates[g]} for g, p in self.groups.items()], fused=True)
        self.learns_values = bool(self.groups.keys() - {"pi"})
        self.signal = None  # of all transitions, when the values are finished
        self.statistics, self.watch = StepStatistics(), FiniteWatch()

    def phases(self):
        """Return the Phases of training, in their order.

        Algorithm 1 learns the values first (lines 3 to 9), then the policy (lines 10 to 12). Side by side it goes with
        `schedule: joint`, where the values ask the policy, and where they act themselves.
        """
        if self.hyper.schedule == "joint" or not self.learns_policy or getattr(self.alg, "COUPLED", False):
            return [Phase("joint", 0, self.hyper.steps)]
        values = [Phase("value", 0, self.hyper.steps)] if self.learns_values else []
        return [*values, Phase("policy", self.hyper.steps * len(values), self.hyper.policy_steps)]

    def step(self, step, phase):
        """Take one gradient step of every seed: lines 4 to 8 of Algorithm 1, line 11, or both.

        Args:
            step: number of the step in its phase. It decides the batch.
            phase: the name of a Phase.
        Raises:
            Diverged: a loss or gradient norm was not finite, in this step or in one since the last look.
        """
        # draw each seed's own transitions
        t, key = self.replay.choose(self.seeds, step)
        # values: their losses, and the signal that weighs the policy
        if phase == "policy":
            batch, losses = self.replay.for_policies(t, key), {}
            signal = self.signal_at(t)
        else:
            batch = self.replay.at(t, key)
            losses, signal = self.alg.value_loss(self.nets, batch, self.hyper)
            signal = self.scaled(signal) if phase == "joint" else signal
        # the policies, where the algorithm has them
        if self.learns_policy and phase != "value":
            losses["L_pi"] = self.alg.policy_loss(self.nets, batch, signal, self.hypers)
        # one backward pass for all of them, clipped per seed and group
        norms = self.descend(losses)
        # targets follow (line 8)
        if phase != "policy":
            self.update_targets()
        # remember for the log
        self.statistics.add(losses, norms)
        self.watch.see(step, {**losses, **norms})
        if step % CHECK_EVERY == 0:
            self.check_finite()

    @torch.no_grad()
    def finish_values(self):
        """Compute once what policies read of the finished values, for every transition: line 10 costs nothing from now on."""
        if not self.learns_values:
            self.signal = {}
            return
        parts = []
        for t in torch.arange(self.replay.steps, device=self.replay.view.device).split(SIGNAL_CHUNK):
            parts.append(self.alg.signal(self.nets, self.replay.at(t.expand(len(self.seeds), -1)), self.hyper))
        self.signal = self.scaled({name: torch.cat([x[name] for x in parts], 1) for name in parts[0]})

    def scaled(self, signal: dict) -> dict:
        """Return the signal in the scale of each policy, where the algorithm has one."""
        return self.alg.scale(signal, self.hypers) if hasattr(self.alg, "scale") else signal

    def signal_at(self, t: Int[Tensor, "K B"]) -> dict[str, Shaped[Tensor, "K B ..."]]:
        """Return the finished values' signal at transitions t, by name."""
        seed = torch.arange(len(t), device=t.device)[:, None]
        return {name: x[seed, t] for name, x in self.signal.items()}

    def descend(self, losses: dict[str, Float[Tensor, "K ..."]]) -> dict[str, Float[Tensor, "K ..."]]:
        """Move every network down its gradient. Returns the gradient norms before clipping, norm_<group>, [K] or [K,P]."""
        self.optimiser.zero_grad()
        torch.cat([x.flatten() for x in losses.values()]).sum().backward()
        moving = {group: p for group, p in self.groups.items() if p[0].grad is not None}
        norms = {f"norm_{group}": clip_per_seed(p, self.hyper.grad_clip) for group, p in moving.items()}
        norms = {name: x if len(x) == len(self.seeds) else x.view(len(self.seeds), -1) for name, x in norms.items()}
        self.optimiser.step()
        return norms

    @torch.no_grad()
    def update_targets(self):
        """Move every target copy towards its network by the share `polyak`."""
        if self.target:
            torch._foreach_lerp_(self.target, self.online, self.hyper.polyak)

    def check_finite(self):
        """Raise Diverged unless all losses and gradient norms so far were finite."""
        if not (found := self.watch.found()):
            return
        step, name, (k, *p), x = found
        which = f", {list(self.policies)[p[0]]}" if len(self.policies) > 1 and p else ""
        raise Diverged(
            f"seed {self.seeds[k]}{which}, step {step}: {name} is {x}; no result is written. "
            "Lower the learning rates, beta or grad_clip"
        )

    @torch.no_grad()
    def probe(self, replay) -> dict[str, Shaped[Array, "K ..."]]:
        """Diagnose the values on transitions evenly spaced over a Replay.

        Returns:
            {name: array [K] or [K,B]}: what the algorithm diagnoses, and `ret`, the discounted return-to-go [K,B]. {} where
            it learns no values.
        """
        if not self.learns_values:
            return {}
        batch = evenly_spaced(replay, DIAGNOSTICS_BATCH, len(self.seeds))
        found = self.alg.diagnose(self.nets, batch, self.hyper)
        return {name: x.cpu().numpy() for name, x in {**found, "ret": batch.ret}.items()}

    def probes(self):
        """Diagnose on the data trained on, and on the held-out data (None without them)."""
        return self.probe(self.replay), None if self.held_out is None else self.probe(self.held_out)

    @torch.no_grad()
    def probe_policies(self, replay) -> dict[str, Shaped[Array, "K P"]]:
        """Diagnose what acts on transitions evenly spaced over a Replay, by name."""
        t = rows_at(replay, DIAGNOSTICS_BATCH, len(self.seeds))
        batch = replay.at(t)
        if self.signal is not None and replay is self.replay:
            signal = self.signal_at(t)
        elif hasattr(self.alg, "signal"):
            signal = self.scaled(self.alg.signal(self.nets, batch, self.hyper))
        else:
            signal = {}
        found = self.alg.diagnose_policy(self.nets, batch, signal, self.hypers)
        return {name: x.cpu().numpy() for name, x in found.items()}

    @torch.no_grad()
    def final_diagnostics(self):
        """Measure what is measured once, of finished values: {name: K numbers}.

        q_tot_start: the mean of Q_tot where held-out episodes begin; and what the algorithm examines.
        """
        found = {}
        if hasattr(self.alg, "examine"):
            batch = evenly_spaced(self.replay, FINAL_DIAGNOSTICS_BATCH, len(self.seeds))
            found |= self.alg.examine(self.nets, batch, self.hyper)
        if self.learns_values and self.held_out is not None:
            batch = self.held_out.at(self.held_out.first.expand(len(self.seeds), -1))
            values = self.alg.diagnose(self.nets, batch, self.hyper)
            found |= {"q_tot_start": values["q_tot"].mean(1)} if "q_tot" in values else {}
        return {name: x.tolist() for name, x in found.items()}

    def rows(self, step, phase, last):
        """Return what is logged at a snapshot: a dict per seed, and where policies are trained per seed and policy.

        Args:
            step: steps of this phase so far.
            phase: its name.
            last: whether this was the last step of the phase.
        """
        self.check_finite()
        numbers = self.statistics.flush()
        probes = (None, None)
        if phase != "policy":
            numbers |= self.final_diagnostics() if last else {}
            probes = self.probes()
        acting = [None, None]
        if phase != "value":
            acting = [self.probe_policies(self.replay), self.held_out and self.probe_policies(self.held_out)]
        about = {"step": step, "phase": phase}
        return log_rows(about, self.seeds, list(self.policies), numbers, probes, acting)

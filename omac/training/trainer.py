"""Training: Algorithm 1 for any algorithm module, K seeds at once, with snapshots, checkpoints and exact resumption.

The batches are in training/replay.py, what a checkpoint holds is in training/state.py, what is logged is in
training/diagnostics.py.
"""

from dataclasses import replace

import torch

from omac import algorithms
from omac.nn.networks import generators
from omac.progress import bar
from omac.training.checkpoint import fingerprint
from omac.training.diagnostics import (
    DIAGNOSTICS_BATCH,
    FINAL_DIAGNOSTICS_BATCH,
    StepStatistics,
    evenly_spaced,
    summarise,
    summarise_held_out,
)
from omac.training.parameters import clip_per_seed, parameter_groups, target_pairs
from omac.training.replay import Replay
from omac.training.state import TrainingResult, TrainState


class Diverged(RuntimeError):
    """A loss or gradient norm is no longer finite: names seed, step and loss. Nothing is written for that cell."""


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


def train(data, algorithm, hyper, seeds, checkpoint=None, device="auto", progress=True, held=None):
    """Train an algorithm for every seed.

    Args:
        data: Episodes to train on.
        algorithm: its name in the registry.
        hyper: Hyper, the settings.
        seeds: K whole numbers.
        checkpoint: path of a file, or None. It is written at every snapshot, and continued from when it belongs to the
            same data, settings, seeds and code. The result is that of a run without interruption.
        device: auto, cpu or cuda.
        progress: whether to show a bar.
        held: Episodes that are never trained on, or None. What is known of them is logged as held_*.
    Returns:
        TrainingResult.
    Raises:
        Diverged: a loss or gradient norm is not finite.
        ValueError: an unknown algorithm or device, a schedule that the algorithm does not have, or a checkpoint that
            cannot be read.
    """
    trainer = Trainer(data, algorithms.get(algorithm), hyper, seeds, device=pick_device(device), held=held)
    if hyper.schedule == "sequential" and not trainer.learns_policy:
        raise ValueError(
            f"schedule is sequential, but {algorithm} acts by its values and has no policy to learn after them: choose joint"
        )
    state = TrainState(trainer.nets, trainer.optimiser)
    if checkpoint:
        mark = fingerprint([data, held], algorithm, hyper, seeds)
        state.resume(checkpoint, mark)
    phases = trainer.phases()
    total = hyper.steps * len(phases)
    with bar(f"{algorithm} {data.spec.map}" if progress else None, total, "step", state.step) as shown_bar:
        for phase, begin in phases.items():
            while state.step < begin + hyper.steps:
                # one update of all seeds
                trainer.step(state.step, phase)
                state.step += 1
                shown_bar.update()
                # now and then a snapshot: the policy, a row per seed, and a checkpoint to go on from
                if state.step % hyper.eval_every == 0:
                    finished = state.step == total
                    if phase != "value":
                        state.keep_policy(state.step - begin, trainer.policy)
                    state.log += trainer.rows(state.step - begin, phase, finished)
                    if checkpoint:
                        state.save(checkpoint, mark, finished)
    probe, held_probe = trainer.probes()
    return TrainingResult(state.snapshots, state.log, probe, held_probe, trainer.nets, trainer.policy)


class Trainer:
    """K seeds in training: their data, networks and optimiser, and the updates of Algorithm 1."""

    def __init__(self, data, alg, hyper, seeds, device="cpu", held=None):
        """Build the networks, their optimiser and the batches. Arguments as `train`; alg is the algorithm's module."""
        self.alg, self.hyper, self.seeds = alg, hyper, list(seeds)
        # the data; held-out ones are optional
        self.replay = Replay(data, hyper, device)
        self.held_out = None if held is None else Replay(held, hyper, device)
        # the networks
        spec = data.spec
        if hyper.global_input == "joint_obs":
            spec = replace(spec, state=spec.n * spec.obs)
        self.nets = alg.build(spec, hyper, generators(seeds)).to(device)
        self.policy = alg.logits(self.nets)
        # their parameters: in groups to be clipped and moved, in pairs for the targets
        self.groups = parameter_groups(self.nets, alg.GROUPS)
        self.online, self.target = target_pairs(self.nets, alg.TARGETS)
        rates = {group: hyper.lr_policy if group == "pi" else hyper.lr_value for group in self.groups}
        self.optimiser = torch.optim.Adam([{"params": p, "lr": rates[g]} for g, p in self.groups.items()], fused=True)
        # what an algorithm may lack: values, a policy beside them, final diagnostics
        self.learns_values = bool(self.groups.keys() - {"pi"})
        self.learns_policy = hasattr(alg, "policy_loss")
        self.has_final_diagnostics = hasattr(alg, "examine")
        self.statistics = StepStatistics()

    def phases(self):
        """Return the phases of training in their order, and after how many steps each begins: {name: step}.

        "joint" trains values and policy together. With `schedule: sequential` "value" trains the values alone, then
        "policy" the policy alone; an algorithm without values has one phase even so.
        """
        if self.hyper.schedule == "sequential" and self.learns_values:
            return {"value": 0, "policy": self.hyper.steps}
        return {"joint": 0}

    def step(self, step, phase):
        """Take one gradient step of every seed: lines 4 to 11 of Algorithm 1.

        Args:
            step: number of the step over all phases. It decides the batch.
            phase: a name of `phases`.
        Raises:
            Diverged: a loss or gradient norm is not finite. No network has moved then.
        """
        # draw each seed's own transitions
        batch = self.replay.draw(self.seeds, step)
        # values: their losses, and the signal that weighs the policy
        losses, signal = self.value_losses(batch, fixed=phase == "policy")
        # the policy, where the algorithm has one
        if self.learns_policy and phase != "value":
            losses["L_pi"] = self.alg.policy_loss(self.nets, batch, signal, self.hyper)
        # one backward pass for all of them, clipped per seed and group
        norms = self.descend(losses, step)
        # targets follow (line 8)
        if phase != "policy":
            self.update_targets()
        # remember for the log
        self.statistics.add(losses, norms)

    def value_losses(self, batch, fixed):
        """Return the losses of the values, {name: [K]}, and the signal for the policy. `fixed` values have no loss."""
        if not fixed:
            return self.alg.value_loss(self.nets, batch, self.hyper)
        with torch.no_grad():
            _, signal = self.alg.value_loss(self.nets, batch, self.hyper)
        return {}, signal

    def descend(self, losses, step):
        """Move every network down its gradient. Returns the gradient norms before clipping, {"norm_<group>": [K]}."""
        self._check_finite(losses, step)
        self.optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        moving = {group: p for group, p in self.groups.items() if p[0].grad is not None}
        norms = {f"norm_{group}": clip_per_seed(p, self.hyper.grad_clip) for group, p in moving.items()}
        self._check_finite(norms, step)
        self.optimiser.step()
        return norms

    @torch.no_grad()
    def update_targets(self):
        """Move every target copy towards its network by the share `polyak`."""
        if self.target:
            torch._foreach_lerp_(self.target, self.online, self.hyper.polyak)

    def _check_finite(self, numbers, step):
        """Raise Diverged unless all `numbers`, {name: [K]}, are finite."""
        table = torch.stack(list(numbers.values()))
        if not torch.isfinite(table).all():
            i, k = torch.nonzero(~torch.isfinite(table))[0].tolist()
            raise Diverged(
                f"seed {self.seeds[k]}, step {step}: {list(numbers)[i]} is {table[i, k].item()}; no result is written. "
                "Lower the learning rates, beta or grad_clip"
            )

    @torch.no_grad()
    def probe(self, replay):
        """Diagnose the networks on transitions evenly spaced over a Replay.

        Returns:
            {name: array [K] or [K,B]}: what the algorithm diagnoses, and `ret`, the discounted return-to-go [K,B].
        """
        batch = evenly_spaced(replay, DIAGNOSTICS_BATCH, len(self.seeds))
        found = self.alg.diagnose(self.nets, batch, self.hyper)
        return {name: x.cpu().numpy() for name, x in {**found, "ret": batch.ret}.items()}

    def probes(self):
        """Diagnose on the data trained on, and on the held-out data (None without them)."""
        return self.probe(self.replay), None if self.held_out is None else self.probe(self.held_out)

    @torch.no_grad()
    def final_diagnostics(self):
        """Measure what the algorithm measures once, of its finished values: {name: K numbers}, empty for most."""
        if not self.has_final_diagnostics:
            return {}
        batch = evenly_spaced(self.replay, FINAL_DIAGNOSTICS_BATCH, len(self.seeds))
        found = self.alg.examine(self.nets, batch, self.hyper)
        return {name: x.tolist() for name, x in found.items()}

    def rows(self, step, phase, finished):
        """Return what is logged at a snapshot, a dict per seed.

        Args:
            step: steps of this phase so far.
            phase: its name.
            finished: whether this was the last step of all.
        """
        numbers = self.statistics.flush()
        if finished:
            numbers |= self.final_diagnostics()
        probe, held = self.probes()
        rows = []
        for k, seed in enumerate(self.seeds):
            row = {"seed": seed, "step": step, "phase": phase}
            row |= {name: x[k] for name, x in numbers.items()}
            row |= summarise(probe, k)
            if held is not None:
                row |= summarise_held_out(held, k)
            rows.append(row)
        return rows

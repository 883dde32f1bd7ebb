"""What a run has reached, while it goes on and when it is finished. The updates are in training/trainer.py."""

from dataclasses import dataclass, field

import torch

from omac.paths import shown
from omac.training.checkpoint import read_checkpoint, write_checkpoint


@dataclass
class TrainingResult:
    """A finished run.

    Attributes:
        snapshots: [{"step", "policy": state dict of [K*P,...]}], the last one of the last step.
        log: rows, a dict per seed and snapshot of the values, per seed, policy and snapshot of the policies.
        probe: {name: array [K] or [K,B]}, the last networks' diagnostics on the data trained on (`Trainer.probe`).
        held: the same on the held-out episodes, or None without them.
        nets: all networks.
        policy: the network that acts, whose states the snapshots are: policy p of P of seed k is k*P + p.
        temperatures: the names of the P policies of a seed.
    """

    snapshots: list
    log: list
    probe: dict
    held: dict | None
    nets: torch.nn.Module
    policy: torch.nn.Module
    temperatures: list


@dataclass
class TrainState:
    """All that a step changes: what a checkpoint holds, and what a run that was interrupted goes on from.

    Attributes:
        networks: all networks, of K seeds.
        optimiser: Adam, with its moments.
        step: gradient steps done, over all phases.
        snapshots, log: as in TrainingResult, so far.
    """

    networks: torch.nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    snapshots: list = field(default_factory=list)
    log: list = field(default_factory=list)

    def keep_policy(self, step, policy):
        """Append a snapshot: a copy of the network that acts, as it is after `step` steps of its phase."""
        weights = {name: x.detach().cpu().clone() for name, x in policy.state_dict().items()}
        self.snapshots.append({"step": step, "policy": weights})

    def save(self, path, mark, finished):
        """Write a checkpoint, atomically.

        Args:
            path: of the file.
            mark: the run's fingerprint.
            finished: whether this was the last step. The optimiser is then left out: the file is kept for analysis.
        """
        saved = {"step": self.step, "snapshots": self.snapshots, "log": self.log, "mark": mark}
        saved["nets"] = self.networks.state_dict()
        saved["adam"] = None if finished else self.optimiser.state_dict()
        write_checkpoint(path, saved)

    def resume(self, path, mark):
        """Go on from a checkpoint, if there is one and it has the run's fingerprint `mark`; say so if it has another.

        Raises:
            ValueError: the file cannot be read.
        """
        if not path.exists():
            return
        saved = read_checkpoint(path)
        if saved["mark"] != mark:
            print(f"{shown(path)} belongs to other data, settings, seeds or code: beginning anew")
            return
        self.step, self.snapshots, self.log = saved["step"], saved["snapshots"], saved["log"]
        self.networks.load_state_dict(saved["nets"])
        if saved["adam"] is not None:
            self.optimiser.load_state_dict(saved["adam"])

"""What is logged at a snapshot beside the scores: losses and gradient norms of the steps, diagnostics of the networks."""

import numpy as np
import torch

DIAGNOSTICS_BATCH = 2_048  # transitions on which the networks are diagnosed at every snapshot
FINAL_DIAGNOSTICS_BATCH = 256  # transitions for what is measured once, at the end
# columns of `summarise` that are logged of held-out data too, as held_<column>
HELD_OUT_COLUMNS = ("log_likelihood", "agreement", "td_error", "q_tot", "return_followed", "q_correlation")


class StepStatistics:
    """Means of the losses and gradient norms of many steps, and the largest of each norm."""

    def __init__(self):
        self.sums, self.peaks, self.count = {}, {}, 0

    def add(self, losses, norms):
        """Add one step. losses, norms: {name: [K]}; norms are those before clipping."""
        for name, x in {**losses, **norms}.items():
            self.sums[name] = self.sums.get(name, 0) + x.detach().double()
        for name, x in norms.items():
            self.peaks[name] = torch.maximum(self.peaks.get(name, x), x)
        self.count += 1

    def flush(self):
        """Return {name: K numbers}, the means, and as <name>_max the largest norms; begin anew."""
        means = {name: (x / self.count).tolist() for name, x in self.sums.items()}
        largest = {f"{name}_max": x.tolist() for name, x in self.peaks.items()}
        self.sums, self.peaks, self.count = {}, {}, 0
        return {**means, **largest}


def evenly_spaced(replay, count, seeds):
    """Return the Batch of at most `count` transitions, evenly spaced over a Replay, the same ones for K = `seeds` seeds."""
    t = torch.linspace(0, replay.steps - 1, min(count, replay.steps)).long()
    return replay.at(t.expand(seeds, -1))


def summarise(probe, k):
    """Reduce a probe to one number per column, for seed k.

    Args:
        probe: {name: array [K] or [K,B]}, as Trainer.probe returns it, with `ret`, the discounted return-to-go [K,B].
        k: place of the seed.
    Returns:
        {column: float}: means over the batch. Where there is a Q_tot, also the mean of `ret` and its correlation with
        Q_tot (0 where one of them is constant).
    """
    row = {name: float(x[k].mean()) for name, x in probe.items() if name != "ret"}
    if "q_tot" in probe:
        q, ret = probe["q_tot"][k], probe["ret"][k]
        both_vary = q.std() > 0 and ret.std() > 0
        row["return_followed"] = float(ret.mean())
        row["q_correlation"] = float(np.corrcoef(q, ret)[0, 1]) if both_vary else 0.0
    return row


def summarise_held_out(probe, k):
    """Reduce the probe of held-out data to {held_<column>: float} of HELD_OUT_COLUMNS, for seed k."""
    row = summarise(probe, k)
    return {f"held_{name}": row[name] for name in HELD_OUT_COLUMNS if name in row}

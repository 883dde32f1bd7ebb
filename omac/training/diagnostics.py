"""What is logged at a snapshot beside the scores: losses and gradient norms of the steps, diagnostics of the networks."""

import numpy as np
import torch

from omac.shapes import Array, Float, Int, Shaped, Tensor

DIAGNOSTICS_BATCH = 2_048  # transitions on which the networks are diagnosed at every snapshot
FINAL_DIAGNOSTICS_BATCH = 256  # transitions for what is measured once, at the end
# columns of `summarise` that are logged of held-out data too, as held_<column>
HELD_OUT_COLUMNS = ("log_likelihood", "agreement", "td_error", "q_tot", "return_followed", "q_correlation")


class StepStatistics:
    """Means of the losses and gradient norms of many steps, and the largest of each norm."""

    def __init__(self):
        self.sums, self.peaks, self.count = {}, {}, 0

    def add(self, losses: dict[str, Float[Tensor, "K ..."]], norms: dict[str, Float[Tensor, "K ..."]]):
        """Add one step: losses, and gradient norms before clipping, [K] or [K,P] by name."""
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


class FiniteWatch:
    """Remembers, on the device, the first step at which a loss or gradient norm was not finite: a step waits for no answer."""

    def __init__(self):
        self.first, self.value = {}, {}

    def see(self, step: int, numbers: dict[str, Float[Tensor, "K ..."]]):
        """Look at one step's numbers, [K] or [K,P] by name."""
        for name, x in numbers.items():
            x = x.detach()
            never = self.first.setdefault(name, torch.full_like(x, torch.inf, dtype=torch.float64))
            new = ~torch.isfinite(x) & torch.isinf(never)
            self.first[name] = torch.where(new, step, never)
            self.value[name] = torch.where(new, x, self.value.get(name, x))

    def found(self):
        """Return (step, name, place in [K] or [K,P], number) of the first that was not finite, or None."""
        if torch.isinf(torch.cat([x.flatten() for x in self.first.values()])).all():
            return None
        step, name = min((float(x.min()), name) for name, x in self.first.items())
        place = tuple(torch.nonzero(self.first[name] == step)[0].tolist())
        return int(step), name, place, float(self.value[name][place])


def rows_at(replay, count: int, seeds: int) -> Int[Tensor, "K B"]:
    """Return at most `count` transitions, evenly spaced over a Replay, the same ones for K = `seeds` seeds."""
    t = torch.linspace(0, replay.steps - 1, min(count, replay.steps)).long()
    return t.expand(seeds, -1).to(replay.view.device)


def evenly_spaced(replay, count, seeds):
    """Return the Batch of `rows_at`."""
    return replay.at(rows_at(replay, count, seeds))


def summarise(probe: dict[str, Shaped[Array, "K ..."]], k: int) -> dict[str, float]:
    """Reduce a probe of values to one number per column, for seed k.

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


def log_rows(about, seeds, temperatures, numbers, probes, acting):
    """Make the rows of a snapshot.

    Args:
        about: columns that all of them share.
        seeds: K seeds.
        temperatures: the names of the P policies of a seed.
        numbers: {name: list [K] or [K][P]}, losses, norms, and what is measured once.
        probes: (of the data trained on, of held-out data) as Trainer.probe gives them, or None.
        acting: the same of Trainer.probe_policies; (None, None) where no policy is trained.
    Returns:
        A dict per seed, or per seed and policy.
    """
    rows = []
    for k, seed in enumerate(seeds):
        row = {"seed": seed, **about} | {name: x[k] for name, x in numbers.items() if not isinstance(x[k], list)}
        for probe, prefix in zip(probes, ("", "held_"), strict=True):
            row |= _kept({} if probe is None else summarise(probe, k), prefix)
        if acting[0] is None:
            rows.append(row)
            continue
        for p, temperature in enumerate(temperatures):
            of_policy = {name: x[k][p] for name, x in numbers.items() if isinstance(x[k], list)}
            for probe, prefix in zip(acting, ("", "held_"), strict=True):
                of_policy |= _kept({name: float(x[k][p]) for name, x in (probe or {}).items()}, prefix)
            rows.append({**row, "temperature": temperature, **of_policy})
    return rows


def _kept(row, prefix):
    """All columns of a row, or of held-out data, prefix "held_", those of HELD_OUT_COLUMNS under their names there."""
    return {f"{prefix}{name}": x for name, x in row.items() if not prefix or name in HELD_OUT_COLUMNS}

"""Algorithm 1 for any algorithm module: K seeds at once, snapshots of the policy, checkpoints, exact resumption."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from omac import algorithms
from omac.nn.networks import generators
from omac.paths import shown
from omac.progress import bar
from omac.training.checkpoint import fingerprint, read_checkpoint, write_checkpoint
from omac.training.replay import Replay

PROBE = 2_048  # transitions, evenly spaced over the data, on which values are held against the returns that followed
EXAMINED = 256  # of them at most, for what is measured once, at the end
HELD_OUT = (
    "log_likelihood",
    "agreement",
    "td_error",
    "q_tot",
    "return_followed",
    "q_correlation",
)  # logged of held-out data


class Diverged(RuntimeError):
    """A loss is no longer finite: names seed, step and loss. Nothing is written for that cell."""


@dataclass
class TrainingResult:
    """A finished run: `snapshots` [{"step", "policy": state of [K,...]}], `log` rows, arrays of the last step: `probe`
    on the data trained on, `held` on the held-out episodes (None without them).

    nets: all networks; policy: the one that acts, whose states the snapshots are.
    """

    snapshots: list
    log: list
    probe: dict
    held: dict | None
    nets: torch.nn.Module
    policy: torch.nn.Module


def pick_device(name="auto"):
    """The torch device for auto, cpu or cuda. Raises ValueError for cuda without a GPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch sees no GPU here: choose cpu or auto")
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; choose auto, cpu or cuda")
    return torch.device(name)


def train(data, algorithm, hyper, seeds, checkpoint=None, device="auto", progress=True, held=None):
    """Train `algorithm` on Episodes `data` for every seed of `seeds`; returns Trained.

    held: Episodes that are never trained on; what is known of them goes into the log as held_*.
    checkpoint: path of a file that is written at every snapshot and continued from when it belongs to the same
    data, settings, seeds and code; the result is the same as without the interruption. A finished run's file keeps
    its snapshots and networks for analysis. device: auto, cpu or cuda. progress: show a bar. Raises Diverged, and
    ValueError for an unknown algorithm or device, for a schedule that the algorithm does not have and for a checkpoint
    that cannot be read.
    """
    alg = algorithms.get(algorithm)
    if hyper.schedule == "sequential" and not hasattr(alg, "policy_loss"):
        raise ValueError(
            f"schedule is sequential, but {algorithm} acts by its values and has no policy to learn after them: choose joint"
        )
    run = Trainer(data, alg, hyper, seeds, pick_device(device), held)
    nets, adam, groups = run.nets, run.adam, run.groups
    mark = fingerprint([data, held], algorithm, hyper, seeds)
    state = _resume(checkpoint, mark, nets, adam) or {"step": 0, "snapshots": [], "log": []}
    phases = ("value", "policy") if hyper.schedule == "sequential" and groups.keys() - {"pi"} else ("joint",)
    total = hyper.steps * len(phases)
    with bar(f"{algorithm} {data.spec.map}" if progress else None, total, "step", state["step"]) as shown_bar:
        while state["step"] < total:
            run.step(state["step"], phases[state["step"] // hyper.steps])
            state["step"] += 1
            shown_bar.update()
            if state["step"] % hyper.eval_every == 0:
                _snapshot(state, run, phases)
                if checkpoint:
                    optimiser = adam.state_dict() if state["step"] < total else None
                    write_checkpoint(checkpoint, {**state, "mark": mark, "nets": nets.state_dict(), "adam": optimiser})
    return TrainingResult(
        state["snapshots"], state["log"], run.probe(run.replay), held and run.probe(run.unseen), nets, alg.logits(nets)
    )


class Trainer:
    """K seeds in training: their networks, one update after another (lines 3-12), and the sums that the log needs."""

    def __init__(self, data, alg, hyper, seeds, device="cpu", held=None):
        spec = data.spec
        if hyper.global_input == "joint_obs":
            spec = replace(spec, state=spec.n * spec.obs)
        self.alg, self.hyper, self.seeds = alg, hyper, list(seeds)
        self.replay, self.unseen = Replay(data, hyper, device), held and Replay(held, hyper, device)
        self.nets = nets = alg.build(spec, hyper, generators(seeds)).to(device)
        groups = {g: [p for name in names for p in getattr(nets, name).parameters()] for g, names in alg.GROUPS.items()}
        self.groups = {g: p for g, p in groups.items() if p}  # `local_value: max` has no V network
        self.adam = torch.optim.Adam(
            [{"params": p, "lr": hyper.lr_policy if g == "pi" else hyper.lr_value} for g, p in self.groups.items()],
            fused=True,
        )
        self.sums, self.peaks, self.count = {}, {}, 0
        online, target = [], []
        for a, b in alg.TARGETS:
            online += [dict(getattr(nets, a).named_parameters())[k] for k, _ in getattr(nets, b).named_parameters()]
            target += list(getattr(nets, b).parameters())
        self.online, self.target = online, target

    def step(self, step, phase):
        """One gradient step of every seed: losses, clipping per seed and group, Adam, soft target update (line 8)."""
        batch = self.replay.draw(self.seeds, step)
        found, adv = self.alg.value_loss(self.nets, batch, self.hyper) if phase != "policy" else ({}, self._adv(batch))
        if phase != "value" and hasattr(self.alg, "policy_loss"):
            found = {**found, "L_pi": self.alg.policy_loss(self.nets, batch, adv, self.hyper)}
        self._finite(step, found)
        self.adam.zero_grad()
        torch.stack(list(found.values())).sum().backward()
        norms = {
            f"norm_{g}": clip_per_seed(p, self.hyper.grad_clip) for g, p in self.groups.items() if p[0].grad is not None
        }
        self._finite(step, norms)
        self.adam.step()
        if phase != "policy" and self.online:
            with torch.no_grad():
                torch._foreach_lerp_(self.target, self.online, self.hyper.polyak)
        for name, x in {**found, **norms}.items():
            self.sums[name] = self.sums.get(name, 0) + x.detach().double()
        for name, x in norms.items():
            self.peaks[name] = torch.maximum(self.peaks.get(name, x), x)
        self.count += 1

    def _finite(self, step, found):
        """Raise Diverged, naming seed, step and loss or gradient norm, unless every number of {name: [K]} is finite."""
        table = torch.stack(list(found.values()))
        if not torch.isfinite(table).all():
            i, k = torch.nonzero(~torch.isfinite(table))[0].tolist()
            raise Diverged(
                f"seed {self.seeds[k]}, step {step}: {list(found)[i]} is {table[i, k].item()}; no result is written. "
                "Lower the learning rates, beta or grad_clip"
            )

    @torch.no_grad()
    def _adv(self, batch):
        """The advantage of the finished values, which the policy phase of the sequential schedule no longer moves."""
        return self.alg.value_loss(self.nets, batch, self.hyper)[1]

    def means(self):
        """Mean of each loss and gradient norm since the last call, and each norm's largest value, {name: [K]}."""
        out = {k: (v / self.count).tolist() for k, v in self.sums.items()}
        out |= {f"{k}_max": v.tolist() for k, v in self.peaks.items()}
        self.sums, self.peaks, self.count = {}, {}, 0
        return out

    @torch.no_grad()
    def probe(self, replay):
        """The algorithm's diagnostics on transitions spread evenly over `replay`, with `ret`, the discounted return that followed."""
        batch = self._spread(replay, PROBE)
        return {
            **{k: v.cpu().numpy() for k, v in self.alg.diagnose(self.nets, batch, self.hyper).items()},
            "ret": batch.ret.cpu().numpy(),
        }

    @torch.no_grad()
    def examine(self):
        """What the algorithm measures once, of its finished values, on the data trained on: {name: [K]}, empty for most."""
        if not hasattr(self.alg, "examine"):
            return {}
        return {
            k: v.tolist()
            for k, v in self.alg.examine(self.nets, self._spread(self.replay, EXAMINED), self.hyper).items()
        }

    def _spread(self, replay, count):
        """The Batch of at most `count` transitions spread evenly over `replay`, the same for every seed."""
        return replay.at(
            torch.linspace(0, replay.steps - 1, min(count, replay.steps)).long().expand(len(self.seeds), -1)
        )


def clip_per_seed(parameters, limit):
    """Scale gradients [K,...] so that each seed's norm over all `parameters` is at most `limit`. Returns the norms before, [K]."""
    grads = [p.grad for p in parameters]
    norm = torch.stack([torch.linalg.vector_norm(g, dim=(1, 2)) for g in grads]).norm(dim=0)
    scale = (limit / (norm + 1e-6)).clamp(max=1)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
    return norm


def _snapshot(state, run, phases):
    """Keep the policy, and a row per seed of what was seen since the last snapshot; `phase` tells values alone from the rest."""
    phase, step = divmod(state["step"] - 1, run.hyper.steps)
    phase, step = phases[phase], step + 1
    if phase != "value":
        state["snapshots"].append(
            {
                "step": step,
                "policy": {k: v.detach().cpu().clone() for k, v in run.alg.logits(run.nets).state_dict().items()},
            }
        )
    seen, means = run.probe(run.replay), run.means()
    unseen = run.unseen and run.probe(run.unseen)
    if state["step"] == run.hyper.steps * len(phases):
        means |= run.examine()
    for k, seed in enumerate(run.seeds):
        row = {
            "seed": seed,
            "step": step,
            "phase": phase,
            **{name: v[k] for name, v in means.items()},
            **_summary(seen, k),
        }
        if unseen:
            known = _summary(unseen, k)
            row |= {f"held_{name}": known[name] for name in HELD_OUT if name in known}
        state["log"].append(row)


def _summary(seen, k):
    """A probe as one number each for seed k: means, and how Q_tot goes with the discounted return that followed."""
    row = {name: float(v[k].mean()) for name, v in seen.items() if name != "ret"}
    if "q_tot" in seen:
        q, ret = seen["q_tot"][k], seen["ret"][k]
        row |= {
            "return_followed": float(ret.mean()),
            "q_correlation": float(np.corrcoef(q, ret)[0, 1]) if q.std() > 0 and ret.std() > 0 else 0.0,
        }
    return row


def _resume(checkpoint, mark, nets, adam):
    if checkpoint is None or not checkpoint.exists():
        return None
    saved = read_checkpoint(checkpoint)
    if saved["mark"] != mark:
        print(f"{shown(checkpoint)} belongs to other data, settings, seeds or code: beginning anew")
        return None
    nets.load_state_dict(saved["nets"])
    if saved["adam"] is not None:  # a finished run keeps its networks alone
        adam.load_state_dict(saved["adam"])
    return {k: saved[k] for k in ("step", "snapshots", "log")}

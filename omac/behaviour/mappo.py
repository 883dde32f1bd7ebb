"""MAPPO, which makes the behaviour policies as the paper's data source did: shared actor on o_i and id, critic on the state."""

import hashlib
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from omac.envs import make
from omac.evaluation import BatchedPolicy, battle_seeds, rollout
from omac.files import write_csv
from omac.nn.networks import MLP, AgentMLP, generators
from omac.nn.policy import MASKED
from omac.paths import BEHAVIOUR, BUILD, shown
from omac.progress import bar
from omac.training import checkpoint, source_hash

MAKERS = (
    "behaviour/mappo",
    "nn/networks",
    "evaluation",
    "data/episodes",
    "envs/smax",
)  # code that a checkpoint belongs to
UNIT = 10.0  # rewards are divided by this, as in SMAX: a win returns 2


@dataclass(frozen=True)
class Mappo:
    """JaxMARL's settings for SMAX (mappo_rnn_smax.yaml), but for an MLP actor and whole battles in each update."""

    battle_steps: int = 2_000_000
    slots: int = 128  # battles side by side
    turns: int = 3  # battles a slot fights for one update: about 128 slots x 128 steps
    lr: float = 2e-3  # annealed to 0 over battle_steps
    hidden: int = 128
    epochs: int = 4
    minibatches: int = 4
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    entropy: float = 0.0
    value: float = 0.5
    max_grad_norm: float = 0.25
    keep_every: float = 0.5  # a snapshot is kept when the mean return has risen by this much


SETTINGS = {  # longer where MAPPO learns slowly; on 6h_vs_8z it wins every battle after 1 million
    "5m_vs_6m": Mappo(battle_steps=10_000_000),
    "3s5z_vs_3s6z": Mappo(battle_steps=4_000_000),
    "corridor": Mappo(entropy=0.01),  # without it some seeds stop exploring early
}


def train_mappo(env, seed, settings=None, folder=BUILD / "behaviour", progress=True):
    """Train one seed to the end, or on from its last checkpoint; returns its final checkpoint (a dict of tensors).

    env "smax:<map>". The checkpoint holds `kept`: the snapshots taken along the way, each with the mean return of
    the battles that it fought itself, actions sampled. Raises ValueError for a damaged checkpoint, or one of other
    settings or code.
    """
    settings = settings or Mappo()
    battle = make(env, settings.slots)
    spec = battle.spec
    gens = generators([seed])
    actor = AgentMLP(gens, spec.n, spec.obs, settings.hidden, spec.actions)
    critic = MLP(gens, spec.state, (settings.hidden, settings.hidden, 1))
    with torch.no_grad():
        actor.rest.layers[-1].weight.mul_(0.01)  # begin close to the uniform policy
    adam = torch.optim.Adam([*actor.parameters(), *critic.parameters()], settings.lr, eps=1e-5)
    path = folder / f"{spec.env}-{spec.map}-{seed}.pt"
    digest = hashlib.sha256(source_hash.module_source(MAKERS).encode()).hexdigest()
    point = {"steps": 0, "update": 0, "settings": asdict(settings), "code": digest, "kept": [], "curve": []}
    if path.exists():
        begun = checkpoint.read_checkpoint(path)
        if begun["settings"] != asdict(settings):
            raise ValueError(
                f"{shown(path)} was trained with {begun['settings']}, now asked for {asdict(settings)}: delete it to begin anew"
            )
        if begun.get("code") != digest:
            raise ValueError(f"{shown(path)} was trained by other code than this: delete it to begin anew")
        point = begun
        for module, name in ((actor, "actor"), (critic, "critic"), (adam, "adam")):
            module.load_state_dict(point[name])
    act = BatchedPolicy(actor, 1, spec.horizon, sample=True)
    shown_bar = bar(
        f"MAPPO {spec.map} seed {seed}" if progress else None, settings.battle_steps, "step", point["steps"]
    )
    while point["steps"] < settings.battle_steps:
        u = point["update"]
        seeds = battle_seeds(seed, u, shape=(settings.slots, settings.turns))
        data = rollout(battle, act, seeds, {"policies": ["actor"], "reward_scale": 20})
        score = float(data.returns.mean())
        top = max((k["return"] for k in point["kept"]), default=-np.inf)
        if u == 0 or score >= top + settings.keep_every:
            point["kept"].append(
                {
                    "seed": seed,
                    "update": u,
                    "steps": point["steps"],
                    "return": score,
                    "actor": {k: v.clone() for k, v in actor.state_dict().items()},
                }
            )
        adam.param_groups[0]["lr"] = settings.lr * (1 - point["steps"] / settings.battle_steps)
        losses = _update(actor, critic, adam, data, settings, np.random.default_rng([seed, u]))
        row = {
            "seed": seed,
            "update": u,
            "steps": point["steps"],
            "return": score,
            "win_rate": float(data.win.mean()),
            **losses,
        }
        point["curve"].append(row)
        shown_bar.update(min(len(data.reward), settings.battle_steps - point["steps"]))
        shown_bar.set_postfix(**{"return": f"{score:.1f}", "wins": f"{data.win.mean():.0%}"})
        point["steps"] += len(data.reward)
        point["update"] += 1
        if point["update"] % 10 == 0 or point["steps"] >= settings.battle_steps:
            point |= {"actor": actor.state_dict(), "critic": critic.state_dict(), "adam": adam.state_dict()}
            checkpoint.write_checkpoint(path, point)
    return point


def save_curve(env, points, folder=BEHAVIOUR):
    """Write the learning curves of some seeds' checkpoints to data/behaviour/<env>-<map>.csv. Returns the path."""
    rows = [row for point in points for row in point["curve"]]
    return write_csv(pd.DataFrame(rows), folder / f"{env.replace(':', '-')}.csv")


def advantages(data, values, gamma, lam):
    """Generalised advantage estimation over whole episodes; rewards in units of 10.

    values f32 [T+N] of every state. A time limit bootstraps from the final state, an end does not. Returns f32 [T].
    """
    _, row = data.rows()
    after = np.where(data.terminated, 0, values[row + 1])
    delta = data.reward / UNIT + gamma * after - values[row]
    length = data.lengths
    grid = np.zeros((len(data), length.max()), np.float32)
    inside = np.arange(grid.shape[1]) < length[:, None]
    grid[inside] = delta
    for t in range(grid.shape[1] - 2, -1, -1):
        grid[:, t] += gamma * lam * grid[:, t + 1]
    return grid[inside]


def _update(actor, critic, adam, data, s, rng):
    """Epochs of clipped PPO steps on one set of whole episodes. Returns mean losses."""
    _, row = data.rows()
    with torch.no_grad():
        values = critic(torch.tensor(data.state)[None])[0, :, 0].numpy()
    adv = advantages(data, values, s.gamma, s.lam)
    t = {
        "o": data.obs[row],
        "s": data.state[row],
        "avail": data.avail[row],
        "a": data.action.astype(np.int64),
        "adv": adv,
        "v": values[row],
        "target": adv + values[row],
    }
    t = {k: torch.from_numpy(v) for k, v in t.items()}
    with torch.no_grad():
        t["old"] = torch.cat(
            [
                _log_pi(actor, o, m, a)[0]
                for o, m, a in zip(*(t[k].split(4096) for k in ("o", "avail", "a")), strict=True)
            ]
        )
    parameters = [*actor.parameters(), *critic.parameters()]
    seen = []
    for _ in range(s.epochs):
        for i in np.array_split(rng.permutation(len(row)), s.minibatches):
            b = {k: v[i] for k, v in t.items()}
            log_pi, entropy = _log_pi(actor, b["o"], b["avail"], b["a"])
            ratio = (log_pi - b["old"]).exp()
            gain = ((b["adv"] - b["adv"].mean()) / (b["adv"].std() + 1e-8))[:, None]
            loss_pi = -torch.min(ratio * gain, ratio.clamp(1 - s.clip, 1 + s.clip) * gain).mean()
            v = critic(b["s"][None])[0, :, 0]
            clipped = b["v"] + (v - b["v"]).clamp(-s.clip, s.clip)
            loss_v = 0.5 * torch.max((v - b["target"]).square(), (clipped - b["target"]).square()).mean()
            adam.zero_grad()
            (loss_pi + s.value * loss_v - s.entropy * entropy.mean()).backward()
            torch.nn.utils.clip_grad_norm_(parameters, s.max_grad_norm, error_if_nonfinite=True)
            adam.step()
            seen.append((loss_pi.item(), loss_v.item(), entropy.mean().item()))
    return dict(zip(("policy_loss", "value_loss", "entropy"), np.mean(seen, 0).tolist(), strict=True))


def _log_pi(actor, o, avail, a):
    """log pi(a|o) over available actions [M,n], and its entropy [M,n]."""
    log_p = F.log_softmax(actor(o[None])[0].masked_fill(~avail, MASKED), -1)
    return log_p.gather(-1, a[..., None])[..., 0], -(log_p.exp() * log_p).sum(-1)

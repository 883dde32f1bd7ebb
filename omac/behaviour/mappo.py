"""MAPPO, which makes the behaviour policies as the paper's data source did: shared actor on o_i and id, critic on the state."""

import hashlib
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from omac.behaviour.lock_steps import SteppedBattles, masked_log_softmax
from omac.envs import make
from omac.evaluation import battle_seeds
from omac.files import write_csv
from omac.nn.networks import MLP, AgentMLP, generators
from omac.nn.rows import PackedObservations
from omac.paths import BEHAVIOUR, BUILD, shown
from omac.progress import bar
from omac.training import checkpoint, source_hash

MAKERS = (
    "behaviour/mappo",
    "behaviour/lock_steps",
    "behaviour/compiled",
    "nn/networks",
    "nn/rows",
    "evaluation",
    "envs/smax",
)  # code that a checkpoint belongs to
UNIT = 10.0  # rewards are divided by this, as in SMAX: a win returns 2


@dataclass(frozen=True)
class Mappo:
    """JaxMARL's settings for SMAX (mappo_rnn_smax.yaml), but for an MLP actor and whole battles in each update."""

    battle_steps: int = 2_000_000
    slots: int = 64  # battles side by side
    turns: int = 6  # battles of an update, for each slot
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
    "5m_vs_6m": Mappo(battle_steps=10_000_000, entropy=0.01),
    "3s5z_vs_3s6z": Mappo(battle_steps=4_000_000),
    "corridor": Mappo(entropy=0.01),  # without the bonus some seeds stop exploring early
}


def train_mappo(env, seed, settings=None, folder=BUILD / "behaviour", progress=True):
    """Train one seed to the end, or on from its last checkpoint; returns its final checkpoint (a dict of tensors).

    env "smax:<map>". The checkpoint holds `kept`: the snapshots taken along the way, each with the mean return of
    the battles that it fought itself, actions sampled. Raises ValueError for a damaged checkpoint, or one of other
    settings or code.
    """
    settings = settings or Mappo()
    spec = make(env, 1).spec
    actor, critic, adam = actor_critic(spec, seed, settings)
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
    battles = battles_of(env, settings.slots)
    shown_bar = bar(
        f"MAPPO {spec.map} seed {seed}" if progress else None, settings.battle_steps, "step", point["steps"]
    )
    while point["steps"] < settings.battle_steps:
        u = point["update"]
        seeds = battle_seeds(seed, u, shape=(settings.slots * settings.turns,))
        fought = battles.fight(actor, seeds)
        steps = len(fought.obs)
        score = float(fought.reward[fought.live].sum(dtype=np.float64) / len(seeds))
        win_rate = float((fought.live & fought.won).sum() / len(seeds))
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
        losses = ppo_update(actor, critic, adam, fought, settings, np.random.default_rng([seed, u]))
        row = {
            "seed": seed,
            "update": u,
            "steps": point["steps"],
            "return": score,
            "win_rate": win_rate,
            **losses,
        }
        point["curve"].append(row)
        shown_bar.update(min(steps, settings.battle_steps - point["steps"]))
        shown_bar.set_postfix(**{"return": f"{score:.1f}", "wins": f"{win_rate:.0%}"})
        point["steps"] += steps
        point["update"] += 1
        if point["update"] % 10 == 0 or point["steps"] >= settings.battle_steps:
            point |= {"actor": actor.state_dict(), "critic": critic.state_dict(), "adam": adam.state_dict()}
            checkpoint.write_checkpoint(path, point)
    return point


def save_curve(env, points, folder=BEHAVIOUR):
    """Write the learning curves of some seeds' checkpoints to data/behaviour/<env>-<map>.csv. Returns the path."""
    rows = [row for point in points for row in point["curve"]]
    return write_csv(pd.DataFrame(rows), folder / f"{env.replace(':', '-')}.csv")


def advantages(fought, values, final, gamma, lam):
    """Generalised advantage estimation over whole battles; rewards in units of 10.

    values f32 [R], final f32 [L]: of the states in which live rows begin, and of those in which truncated ones end. A time
    limit bootstraps from the final state, an end does not. Returns f32 [R].
    """
    value = _spread(fought.live, values)
    limit = fought.live & fought.truncated
    following = np.where(fought.terminated, 0, np.concatenate([value[1:], np.zeros_like(value[:1])]))
    following[limit] = final
    out = fought.reward / UNIT + gamma * following - value
    goes_on = ~(fought.terminated | fought.truncated)
    for t in range(len(out) - 2, -1, -1):
        out[t] += gamma * lam * goes_on[t] * out[t + 1]
    return out[fought.live]


def _spread(where, x):
    """Put x [R] at the places `where`, bool of any shape, and 0 elsewhere."""
    out = np.zeros(where.shape, np.float32)
    out[where] = x
    return out


def actor_critic(spec, seed, settings):
    """Begin a training: make the actor, close to the uniform policy, the critic, and their optimiser."""
    gens = generators([seed])
    actor = AgentMLP(gens, spec.n, spec.obs, settings.hidden, spec.actions)
    critic = MLP(gens, spec.state, (settings.hidden, settings.hidden, 1))
    with torch.no_grad():
        actor.rest.layers[-1].weight.mul_(0.01)
    adam = torch.optim.Adam([*actor.parameters(), *critic.parameters()], settings.lr, eps=1e-5, fused=True)
    return actor, critic, adam


def battles_of(env, slots):
    """Make what fights MAPPO's battles in an environment, so many side by side: SMAX's compiled, others' step by step."""
    if env.startswith("smax:"):
        from omac.behaviour.compiled import CompiledBattles

        return CompiledBattles(env.removeprefix("smax:"), slots)
    return SteppedBattles(make(env, slots))


def ppo_update(actor, critic, adam, fought, s, rng):
    """Make epochs of clipped PPO steps on one set of whole battles.

    Args:
        actor, critic, adam: as `actor_critic` makes them; they change.
        fought: Fought.
        s: Mappo.
        rng: what shuffles the rows.
    Returns:
        {name: mean loss}.
    """
    state, avail, action, old = map(torch.from_numpy, (fought.state, fought.avail, fought.action, fought.log_pi))
    action = action.long()
    with torch.no_grad():
        values = critic(state[None])[0, :, 0]
        final = critic(torch.from_numpy(fought.final)[None])[0, :, 0]
    adv = torch.from_numpy(advantages(fought, values.numpy(), final.numpy(), s.gamma, s.lam))
    target = adv + values
    # the fallen see nothing and have no choice: of their rows, a third of all, the actor computes one per agent
    obs = PackedObservations(fought.obs)
    parameters = [*actor.parameters(), *critic.parameters()]
    seen = []
    for _ in range(s.epochs):
        for i in map(torch.from_numpy, np.array_split(rng.permutation(len(state)), s.minibatches)):
            log_p = masked_log_softmax(actor(obs.at(i[None]))[0], avail[i])
            loss_pi, entropy = clipped_policy_loss(log_p, action[i], old[i], adv[i], s.clip)
            loss_v = clipped_value_loss(critic(state[i][None])[0, :, 0], values[i], target[i], s.clip)
            adam.zero_grad()
            (loss_pi + s.value * loss_v - s.entropy * entropy).backward()
            torch.nn.utils.clip_grad_norm_(parameters, s.max_grad_norm, error_if_nonfinite=True)
            adam.step()
            seen.append(torch.stack([loss_pi, loss_v, entropy]).detach())
    return dict(zip(("policy_loss", "value_loss", "entropy"), torch.stack(seen).mean(0).tolist(), strict=True))


def clipped_policy_loss(log_p, action, old, adv, clip):
    """Return PPO's clipped loss of rows, and their mean entropy.

    log_p [R,n,A], action [R,n], old [R,n] log pi of the actions as they were taken, adv [R].
    """
    ratio = (log_p.gather(-1, action[..., None])[..., 0] - old).exp()
    gain = ((adv - adv.mean()) / (adv.std() + 1e-8))[:, None]
    loss = -torch.min(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain).mean()
    return loss, -(log_p.exp() * log_p).sum(-1).mean()


def clipped_value_loss(v, before, target, clip):
    """Return the critic's clipped loss: v, its values `before` the update, and targets, each [R]."""
    clipped = before + (v - before).clamp(-clip, clip)
    return 0.5 * torch.max((v - target).square(), (clipped - target).square()).mean()

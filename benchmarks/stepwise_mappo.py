"""MAPPO's battles and updates as they are usually written, which behaviour training is timed against: a simulator call for each
lock-step, everything recorded, every agent's row through the network. Learns what omac/behaviour/mappo.py learns.
"""

import numpy as np
import torch

from omac.behaviour.lock_steps import masked_log_softmax
from omac.behaviour.mappo import UNIT
from omac.evaluation import BatchedPolicy, rollout

SLOTS = 128  # battles side by side: with a call for each lock-step fewer are slower


def fight(battle, actor, seeds):
    """Fight a battle for each of `seeds`, uint32 [N]. Returns Episodes."""
    act = BatchedPolicy(actor, 1, battle.spec.horizon, sample=True)
    return rollout(battle, act, seeds.reshape(battle.battles, -1), {"policies": ["actor"], "reward_scale": 20})


def advantages(data, values, gamma, lam):
    """Generalised advantage estimation on Episodes. values f32 [T+N] of every state; returns f32 [T]."""
    _, row = data.rows()
    after = np.where(data.terminated, 0, values[row + 1])
    grid = np.zeros((len(data), data.lengths.max()), np.float32)
    inside = np.arange(grid.shape[1]) < data.lengths[:, None]
    grid[inside] = data.reward / UNIT + gamma * after - values[row]
    for t in range(grid.shape[1] - 2, -1, -1):
        grid[:, t] += gamma * lam * grid[:, t + 1]
    return grid[inside]


def update(actor, critic, adam, data, s, rng):
    """Epochs of clipped PPO steps on Episodes. Returns mean losses."""
    _, row = data.rows()
    with torch.no_grad():
        values = critic(torch.tensor(data.state)[None])[0, :, 0].numpy()
    adv = advantages(data, values, s.gamma, s.lam)
    t = {"o": data.obs[row], "s": data.state[row], "avail": data.avail[row], "a": data.action.astype(np.int64)}
    t |= {"adv": adv, "v": values[row], "target": adv + values[row]}
    t = {k: torch.from_numpy(v) for k, v in t.items()}
    with torch.no_grad():
        chunks = zip(*(t[k].split(4096) for k in ("o", "avail", "a")), strict=True)
        t["old"] = torch.cat([_log_pi(actor, *chunk)[0] for chunk in chunks])
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
    log_p = masked_log_softmax(actor(o[None])[0], avail)
    return log_p.gather(-1, a[..., None])[..., 0], -(log_p.exp() * log_p).sum(-1)

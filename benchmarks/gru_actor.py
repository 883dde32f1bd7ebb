"""MAPPO with a GRU actor, as JaxMARL has it, for `benchmarks/tries.py --actor gru`. The critic stays an MLP on the state.

The actor remembers its battle, so an update takes whole battles, side by side from their first step, in minibatches of battles.
"""

import numpy as np
import torch
from torch import nn

from omac.behaviour import mappo
from omac.behaviour.lock_steps import Fought, masked_log_softmax
from omac.envs import make
from omac.evaluation import play
from omac.nn.networks import MLP, generators


class GruActor(nn.Module):
    """pi_i(.|o_i's so far): a layer, a GRU, a layer, logits, each `hidden` wide; one network for all agents, told apart by an id."""

    def __init__(self, n, inputs, hidden, outputs):
        super().__init__()
        self.n, self.hidden = n, hidden
        self.first, self.gru = nn.Linear(inputs + n, hidden), nn.GRU(hidden, hidden)
        self.rest = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, obs, memory=None):
        """obs f32 [T,E,n,O], memory f32 [1,E*n,H] of the step before or None -> logits [T,E,n,A], memory after the last step."""
        T, E, n, _ = obs.shape
        x = torch.cat([obs, torch.eye(n).expand(T, E, n, n)], -1)
        h, memory = self.gru(self.first(x).relu().view(T, E * n, self.hidden), memory)
        return self.rest(h).view(T, E, n, -1), memory


class RememberedBattles:
    """Battles that begin together, a call for every lock-step, the actor's memory carried along."""

    def __init__(self, env):
        self.env, self.battle = env, None

    @torch.no_grad()
    def fight(self, actor, seeds):
        """Fight a battle for each of `seeds`, uint32 [N]. Returns Fought."""
        self.battle = self.battle or make(self.env, len(seeds))
        rng, memory, log_pis = np.random.default_rng(seeds), None, []

        def act(obs, avail, _seed, _t):
            nonlocal memory
            logits, memory = actor(torch.tensor(obs)[None], memory)
            log_p = masked_log_softmax(logits[0], torch.tensor(avail))
            action = (log_p + torch.from_numpy(rng.gumbel(size=log_p.shape).astype(np.float32))).argmax(-1)
            log_pis.append(log_p.gather(-1, action[..., None])[..., 0].numpy())
            return action.numpy()

        steps = list(play(self.battle, act, seeds[:, None]))
        live = np.stack([s.live for s in steps])
        ends = {k: np.stack([getattr(s.after, k) for s in steps]) for k in ("reward", "terminated", "truncated", "won")}
        seen = {k: np.concatenate([getattr(s.view, k)[s.live] for s in steps]) for k in ("obs", "state", "avail")}
        taken = {"action": np.stack([s.action for s in steps])[live], "log_pi": np.stack(log_pis)[live]}
        final = np.concatenate([s.after.view.state[s.live & s.after.truncated] for s in steps])
        return Fought(live=live, **ends, **seen, **taken, final=final)


def grid(live, x, fill=0):
    """Put rows x [R,...] at the places where `live`, bool [T,E], and `fill` elsewhere. Returns a tensor [T,E,...]."""
    out = np.full((*live.shape, *x.shape[1:]), fill, x.dtype)
    out[live] = x
    return torch.from_numpy(out)


def loss_of_battles(actor, b, s):
    """PPO's clipped loss and the mean entropy over the live rows of whole battles.

    Args:
        actor: GruActor.
        b: tensors [T,E,...] by name: live, obs, avail, action, old (log pi of the actions), adv.
        s: Mappo.
    """
    live = b["live"]
    log_p = masked_log_softmax(actor(b["obs"])[0], b["avail"])[live]
    return mappo.clipped_policy_loss(log_p, b["action"][live], b["old"][live], b["adv"][live], s.clip)


def gru_update(actor, critic, adam, fought, s, rng):
    """Make epochs of clipped PPO steps on one set of whole battles; arguments and result as of mappo.ppo_update."""
    live = fought.live
    with torch.no_grad():
        values = critic(torch.from_numpy(fought.state)[None])[0, :, 0]
        final = critic(torch.from_numpy(fought.final)[None])[0, :, 0]
    adv = mappo.advantages(fought, values.numpy(), final.numpy(), s.gamma, s.lam)
    rows = {"obs": fought.obs, "state": fought.state, "action": fought.action.astype(np.int64), "old": fought.log_pi}
    rows |= {"adv": adv, "value": values.numpy(), "target": adv + values.numpy()}
    b = {name: grid(live, x) for name, x in rows.items()} | {"avail": grid(live, fought.avail, True)}
    b["live"] = torch.from_numpy(live)
    parameters, seen = [*actor.parameters(), *critic.parameters()], []
    for _ in range(s.epochs):
        for i in np.array_split(rng.permutation(live.shape[1]), s.minibatches):
            part = {name: x[:, i] for name, x in b.items()}
            loss_pi, entropy = loss_of_battles(actor, part, s)
            on = part["live"]
            v = critic(part["state"][on][None])[0, :, 0]
            loss_v = mappo.clipped_value_loss(v, part["value"][on], part["target"][on], s.clip)
            adam.zero_grad()
            (loss_pi + s.value * loss_v - s.entropy * entropy).backward()
            torch.nn.utils.clip_grad_norm_(parameters, s.max_grad_norm, error_if_nonfinite=True)
            adam.step()
            seen.append(torch.stack([loss_pi, loss_v, entropy]).detach())
    return dict(zip(("policy_loss", "value_loss", "entropy"), torch.stack(seen).mean(0).tolist(), strict=True))


def gru_actor_critic(spec, seed, settings):
    """Begin a training: make the actor, close to the uniform policy, the critic, and their optimiser."""
    torch.manual_seed(seed)
    actor = GruActor(spec.n, spec.obs, settings.hidden, spec.actions)
    critic = MLP(generators([seed]), spec.state, (settings.hidden, settings.hidden, 1))
    with torch.no_grad():
        actor.rest[-1].weight.mul_(0.01)
    return (
        actor,
        critic,
        torch.optim.Adam([*actor.parameters(), *critic.parameters()], settings.lr, eps=1e-5, fused=True),
    )


def take_gru():
    """Have mappo.train_mappo train a GRU actor in this process."""
    mappo.actor_critic, mappo.ppo_update = gru_actor_critic, gru_update
    mappo.battles_of = lambda env, _slots: RememberedBattles(env)

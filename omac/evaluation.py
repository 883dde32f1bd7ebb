"""Battles fought by policies: the only code that steps a simulator.

`play` is the loop. `rollout` keeps what it yields as Episodes, `evaluate` as scores.
"""

from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch

from omac.data.episodes import Episodes
from omac.envs import Step, View, make
from omac.nn.policy import MASKED
from omac.progress import bar

SLOTS = 320  # battles side by side: measured to be near the best rate of the simulator


class StepRecord(NamedTuple):
    """One lock-step of E battles, a battle in each slot of the simulator.

    Attributes:
        view: what the agents observed.
        action: int [E,n], what they did.
        after: Step, what the simulator returned.
        live: bool [E], whether the slot was still fighting. Rows of other slots have no meaning.
        turn: int [E], the place of the battle among those that the slot fights one after another.
        t: int [E], the step of the battle.
    """

    view: View
    action: np.ndarray
    after: Step
    live: np.ndarray
    turn: np.ndarray
    t: np.ndarray


def play(battle, act, seeds, progress=None):
    """Fight battles to their ends, E of them side by side.

    Args:
        battle: Battle with E slots.
        act: function (obs [E,n,O], avail [E,n,A], battle_seed [E], t [E]) -> action int [E,n].
        seeds: uint32 [E,R], a battle each. Slot e fights those of seeds[e] one after another.
        progress: label of a bar that counts battles, or None for no bar.
    Yields:
        A StepRecord per lock-step.
    """
    E, R = seeds.shape
    slot = np.arange(E)
    live, turn, t = np.ones(E, bool), np.zeros(E, int), np.zeros(E, int)
    view = battle.reset(seeds[:, 0])
    with bar(progress, E * R, "battle") as shown_bar:
        while live.any():
            action = act(view.obs, view.avail, seeds[slot, turn], t)
            after = battle.step(action)
            yield StepRecord(view, action, after, live, turn, t)
            ended = after.terminated | after.truncated
            # slots whose battle this step ended; `live`, because a slot without another battle stays at its end
            over = live & ended
            # of these, the slots that have another battle to fight
            again = over & (turn + 1 < R)
            # slots whose battle goes on
            on = live & ~ended
            live, turn, t = on | again, turn + again, np.where(again, 0, t + on)
            view = battle.reset(seeds[slot, turn], again) if again.any() else after.view
            shown_bar.update(int(over.sum()))


class BatchedPolicy:
    """Select actions for P policies in one forward pass.

    The E parallel battles are split evenly: the first E/P belong to policy 0, and so on.
    """

    def __init__(self, logits, policies, horizon, sample=False, masked=False, exact=False):
        """Make an `act` for `play`.

        Args:
            logits: function (obs [P,B,n,O]) -> [P,B,n,A], or of (obs, avail [P,B,n,A]) if `masked`.
            policies: P.
            horizon: longest battle in steps.
            sample: draw actions from the softmax, each battle from its own seed. Otherwise take the best available one.
            masked: whether logits takes the available actions too.
            exact: compute in double precision, so that the last bits of a processor's single precision, which take one
                action in a million for another, do not reach the battles. logits then takes obs f64.
        """
        self.logits, self.policies, self.horizon, self.sample, self.masked = logits, policies, horizon, sample, masked
        self.dtype = np.float64 if exact else np.float32
        self._noise = None

    @classmethod
    def of(cls, net, states, horizon, sample=False, exact=False):
        """Stack the policies of several snapshots: policy j*K + k is seed k of states[j].

        Args:
            net: the policy network. Its own parameters are not used.
            states: state dicts of [K,...].
            horizon, sample, exact: as above.
        """
        stacked = {name: torch.cat([state[name].cpu() for state in states]) for name in states[0]}
        if exact:
            stacked = {name: x.double() for name, x in stacked.items()}
        policies = len(next(iter(stacked.values())))
        masked = getattr(net, "needs_avail", False)
        return cls(lambda *x: torch.func.functional_call(net, stacked, x), policies, horizon, sample, masked, exact)

    @torch.no_grad()
    def __call__(self, obs, avail, battle_seed, t):
        """obs f32 [E,n,O], avail bool [E,n,A], battle_seed uint32 [E], t int [E] -> action int [E,n]."""
        E, n, _ = obs.shape
        obs = obs.astype(self.dtype, copy=False)
        inputs = (obs, avail) if self.masked else (obs,)
        x = [torch.tensor(y).view(self.policies, E // self.policies, n, -1) for y in inputs]
        logits = self.logits(*x).reshape(E, n, -1).numpy()
        if self.sample:
            logits = logits + self._gumbel(battle_seed, t, avail.shape[1:])
        return np.where(avail, logits, self.dtype(MASKED)).argmax(-1)

    def _gumbel(self, battle_seed, t, shape):
        """Return Gumbel noise [E,n,A] for step t of each battle.

        All noise of a battle is drawn when it begins, from its own seed, so it does not depend on its neighbours.
        """
        if self._noise is None:
            self._noise = np.empty((len(t), self.horizon, *shape), self.dtype)
        for e in np.flatnonzero(t == 0):
            rng = np.random.Generator(np.random.Philox(key=int(battle_seed[e])))
            u = rng.random((self.horizon, *shape), np.float32).astype(self.dtype, copy=False)
            self._noise[e] = -np.log(-np.log(u + 1e-12) + 1e-12)
        return self._noise[np.arange(len(t)), t]


def battle_seeds(*words, shape):
    """Return battle seeds, uint32 of a shape, from whole numbers that name their use: same words, same battles.

    First words in use: 1 and 2 evaluation, 11 controls, 3 measuring snapshots, 4 pulling, 9 replays, 10 kept policies; MAPPO's own
    battles are (training seed, update), so its training seeds 0 and 1 share none of these.
    """
    return np.random.SeedSequence(words).generate_state(int(np.prod(shape)), np.uint32).reshape(shape)


class _Recording:
    """Columns of many battles, recorded step by step, read back battle by battle."""

    def __init__(self):
        self.episode, self.time, self.columns = [], [], {}

    def record(self, rows, episode, time, columns):
        """Append the rows, bool [E], of episode int [E], time int [E] and columns {name: [E,...]}."""
        self.episode.append(episode[rows])
        self.time.append(time[rows])
        for name, x in columns.items():
            self.columns.setdefault(name, []).append(x[rows])

    def sorted(self):
        """Return {name: [rows of all episodes,...]}, ordered by episode, then by time."""
        order = np.lexsort((np.concatenate(self.time), np.concatenate(self.episode)))
        return {name: np.concatenate(parts)[order] for name, parts in self.columns.items()}


def rollout(battle, act, seeds, about, policy=None, progress=None):
    """Fight battles and keep all of them.

    Args:
        battle, act, seeds [E,R], progress: as in `play`.
        about: attributes of the Episodes. Environment, map, horizon and sizes are added.
        policy: int [E*R], the place in about["policies"] of the one that fought each battle. Default 0.
    Returns:
        Episodes, in the order of seeds.ravel().
    """
    E, R = seeds.shape
    views, steps, win = _Recording(), _Recording(), np.zeros(E * R, bool)
    for step in play(battle, act, seeds, progress):
        after = step.after
        episode = np.arange(E) * R + step.turn
        # slots whose battle ended with this step
        over = step.live & (after.terminated | after.truncated)
        # what the agents observed, and at an end the final view, which no action follows
        views.record(step.live, episode, step.t, step.view._asdict())
        views.record(over, episode, step.t + 1, after.view._asdict())
        taken = {"action": step.action.astype(np.int16), "reward": after.reward}
        flags = {"terminated": after.terminated, "truncated": after.truncated}
        steps.record(step.live, episode, step.t, {**taken, **flags})
        win[episode[over]] = after.won[over]
    arrays = {**views.sorted(), **steps.sorted()}
    ends = np.flatnonzero(arrays["terminated"] | arrays["truncated"]) + 1
    spec = battle.spec
    sizes = [spec.n, spec.obs, spec.state, spec.actions]
    return Episodes(
        **arrays,
        start=np.concatenate([[0], ends]),
        win=win,
        id=np.arange(E * R),
        policy=np.zeros(E * R, np.int32) if policy is None else np.asarray(policy, np.int32),
        about={**about, "env": spec.env, "map": spec.map, "horizon": spec.horizon, "sizes": sizes},
    )


class Scores(NamedTuple):
    """What the battles of P policies came to.

    Attributes:
        returns: f64 [P, battles].
        discounted: f64 [P, battles], sum_t gamma^t r_t: an estimate of the policy's value where battles begin.
        win: bool [P, battles].
        length: int [P, battles], in steps.
        simulator: its name and version.
    """

    returns: np.ndarray
    discounted: np.ndarray
    win: np.ndarray
    length: np.ndarray
    simulator: str

    @classmethod
    def concatenate(cls, parts):
        """Join Scores of one simulator, policy after policy."""
        return cls(
            *(np.concatenate([getattr(x, name) for x in parts]) for name in cls._fields[:-1]), parts[0].simulator
        )


def evaluate(env, net, states, seeds, sample=False, progress=None, gamma=1.0):
    """Let P = len(states) x K policies fight, in one simulator call for all of them.

    Where so many battles cannot be fought side by side (StarCraft II: a game each), a few policies fight after another.

    Args:
        env: name of the simulator, as "smax:6h_vs_8z".
        net: the policy network. Its own parameters are not used.
        states: state dicts of [K,...]. Policy j*K + k is seed k of states[j].
        seeds: uint32 [P, battles], a battle each.
        sample: draw actions from the policy. Otherwise it acts greedily.
        progress: label of a bar that counts battles, or None.
        gamma: discount factor of Scores.discounted.
    Returns:
        Scores.
    """
    policies = len(seeds)
    most = _most(env)
    if policies > most:
        single = _one_by_one(states)
        groups = [slice(p, p + most) for p in range(0, policies, most)]
        parts = [evaluate(env, net, single[g], seeds[g], sample, progress, gamma) for g in groups]
        return Scores.concatenate(parts)

    def stacked(horizon):
        return BatchedPolicy.of(net, states, horizon, sample)

    return score_battles(env, stacked, seeds, progress, gamma)


def score_battles(env, policy, seeds, progress=None, gamma=1.0):
    """Let P policies fight side by side, in one simulator call. Returns Scores.

    Args:
        env, seeds, progress, gamma: as in `evaluate`.
        policy: function (horizon) -> `act` for `play`, of E slots of which the first E/P are policy 0's, and so on.
    """
    policies, battles = seeds.shape
    # slots of each policy: the most that there is room for and that divide its battles evenly
    slots = max(d for d in range(1, battles + 1) if battles % d == 0 and policies * d <= _most(env))
    fought = seeds.reshape(policies * slots, battles // slots)
    returns, discounted, length = np.zeros(fought.shape), np.zeros(fought.shape), np.zeros(fought.shape, int)
    win = np.zeros(fought.shape, bool)
    with closing(make(env, policies * slots)) as battle:
        for step in play(battle, policy(battle.spec.horizon), fought, progress):
            # the battles that are still fought: their slots, and the turn of each; their last step overwrites `win`
            live = np.flatnonzero(step.live)
            at = live, step.turn[live]
            returns[at] += step.after.reward[live]
            discounted[at] += gamma ** step.t[live] * step.after.reward[live]
            length[at] += 1
            win[at] = step.after.won[live]
        by_policy = (x.reshape(policies, battles) for x in (returns, discounted, win, length))
        return Scores(*by_policy, battle.version)


def _one_by_one(states):
    """Split state dicts of [K,...] into one of [1,...] for each policy, in the order of `evaluate`."""
    return [{name: x[k : k + 1] for name, x in s.items()} for s in states for k in range(len(next(iter(s.values()))))]


def _most(env):
    """Return how many battles to fight side by side."""
    if env.startswith("smac"):
        from omac.envs.smac.env import most_battles

        return most_battles()
    return SLOTS

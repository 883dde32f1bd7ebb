"""Battles fought by policies: the only code that steps a simulator."""

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
    """One lock-step of E battles: what was seen, done and returned; `live` bool [E], `turn` and `t` int [E]."""

    view: View
    action: np.ndarray
    after: Step
    live: np.ndarray
    turn: np.ndarray
    t: np.ndarray


def play(battle, act, seeds, progress=None):
    """Fight every seed of `seeds` uint32 [E,R] to its end: slot e fights seeds[e] one after another.

    act(obs [E,n,O], avail [E,n,A], battle_seed [E], t [E]) -> action int [E,n]. Yields a Frame per lock-step;
    only the rows where `live` count. progress: a label for a bar that counts battles, or None.
    """
    E, R = seeds.shape
    turn, t, live = np.zeros(E, int), np.zeros(E, int), np.ones(E, bool)
    view = battle.reset(seeds[:, 0])
    with bar(progress, E * R, "battle") as shown_bar:
        while live.any():
            action = act(view.obs, view.avail, seeds[np.arange(E), turn], t)
            after = battle.step(action)
            yield StepRecord(view, action, after, live.copy(), turn.copy(), t.copy())
            over = live & (after.terminated | after.truncated)
            again = over & (turn + 1 < R)
            turn, t = turn + again, np.where(again, 0, t + (live & ~over))
            live &= ~over | again
            view = battle.reset(seeds[np.arange(E), turn], again) if again.any() else after.view
            shown_bar.update(int(over.sum()))


class BatchedPolicy:
    """Acts for P policies at once; the E slots of a battle are dealt out evenly, in order: the first E/P fight for policy 0.

    logits: function [P,B,n,O] -> [P,B,n,A]. sample: draw actions from the softmax (each battle from its own
    seed), otherwise take the best available one. masked: logits takes the available actions [P,B,n,A] as well.
    """

    def __init__(self, logits, policies, horizon, sample=False, masked=False):
        self.logits, self.policies, self.horizon, self.sample, self.masked = logits, policies, horizon, sample, masked
        self._noise = None

    @classmethod
    def of(cls, net, states, horizon, sample=False):
        """For a policy network and a list of its state dicts of [K,...]: policy j*K + k is seed k of states[j]."""
        stack = {k: torch.cat([s[k].cpu() for s in states]) for k in states[0]}
        policies, masked = len(next(iter(stack.values()))), getattr(net, "needs_avail", False)
        return cls(lambda *x: torch.func.functional_call(net, stack, x), policies, horizon, sample, masked)

    @torch.no_grad()
    def __call__(self, obs, avail, battle_seed, t):
        """obs f32 [E,n,O], avail bool [E,n,A], battle_seed uint32 [E], t int [E] -> action int [E,n]."""
        E, n, _ = obs.shape
        seen = (obs, avail) if self.masked else (obs,)
        x = [torch.tensor(s).view(self.policies, E // self.policies, n, -1) for s in seen]
        logits = self.logits(*x).reshape(E, n, -1).numpy()
        if self.sample:
            logits = logits + self._gumbel(battle_seed, t, avail.shape[1:])
        return np.where(avail, logits, np.float32(MASKED)).argmax(-1)

    def _gumbel(self, battle_seed, t, shape):
        """Gumbel noise [E,n,A]: a battle's whole noise comes from its own seed, so it does not depend on its neighbours."""
        if self._noise is None:
            self._noise = np.empty((len(t), self.horizon, *shape), np.float32)
        for e in np.flatnonzero(t == 0):
            u = np.random.Generator(np.random.Philox(key=int(battle_seed[e]))).random(
                (self.horizon, *shape), np.float32
            )
            self._noise[e] = -np.log(-np.log(u + 1e-12) + 1e-12)
        return self._noise[np.arange(len(t)), t]


def battle_seeds(*words, shape):
    """Battle seeds uint32 of a shape, from whole numbers that name their use: same words, same battles.

    First words in use: 1 and 2 evaluation, 3 measuring snapshots, 4 pulling, 9 replays; MAPPO's own battles are
    (training seed, update), so its training seeds 0 and 1 share none of these.
    """
    return np.random.SeedSequence(words).generate_state(int(np.prod(shape)), np.uint32).reshape(shape)


def rollout(battle, act, seeds, about, policy=None, progress=None):
    """Fight all battles of `seeds` [E,R] and keep them: Episodes in the order of seeds.ravel().

    policy int [E*R]: which of about["policies"] fought each battle (default 0). Other arguments as `play`.
    """
    E, R = seeds.shape
    keep = {k: [] for k in ("obs", "state", "avail", "row", "action", "reward", "terminated", "truncated", "step")}
    win = np.zeros(E * R, bool)
    for f in play(battle, act, seeds, progress):
        e = np.flatnonzero(f.live)
        episode = e * R + f.turn[e]
        over = (f.after.terminated | f.after.truncated)[e]
        for rows, key, view in ((e, f.t[e], f.view), (e[over], f.t[e[over]] + 1, f.after.view)):
            keep["row"].append(np.stack([rows * R + f.turn[rows], key], 1))
            for name, x in zip(View._fields, view, strict=True):
                keep[name].append(x[rows])
        keep["step"].append(np.stack([episode, f.t[e]], 1))
        keep["action"].append(f.action[e].astype(np.int16))
        for name in ("reward", "terminated", "truncated"):
            keep[name].append(getattr(f.after, name)[e])
        win[episode[over]] = f.after.won[e[over]]
    order = {k: np.lexsort(np.concatenate(keep.pop(k)).T[::-1]) for k in ("row", "step")}
    packed = {k: np.concatenate(v)[order["row" if k in View._fields else "step"]] for k, v in keep.items()}
    spec = battle.spec
    ends = np.flatnonzero(packed["terminated"] | packed["truncated"]) + 1
    return Episodes(
        **packed,
        start=np.concatenate([[0], ends]),
        win=win,
        id=np.arange(E * R),
        policy=np.zeros(E * R, np.int32) if policy is None else np.asarray(policy, np.int32),
        about={
            **about,
            "env": spec.env,
            "map": spec.map,
            "horizon": spec.horizon,
            "sizes": [spec.n, spec.obs, spec.state, spec.actions],
        },
    )


class Scores(NamedTuple):
    """What P policies reached: returns f64, win bool, length int, each [P, battles]; and in which simulator."""

    returns: np.ndarray
    win: np.ndarray
    length: np.ndarray
    simulator: str


def evaluate(env, net, states, seeds, sample=False, progress=None):
    """Let P = len(states) x K policies fight `seeds` uint32 [P,battles]; one simulator call for all of them.

    net: the policy network (its own parameters are not used); states: state dicts of [K,...], so policy j*K + k is
    seed k of states[j]. Greedy unless `sample`. Where so many battles cannot be fought side by side (StarCraft II: a
    game each), a few policies fight after another. Returns Scores.
    """
    policies, battles = seeds.shape
    most = _most(env)
    if policies > most:
        single = [{k: x[i : i + 1] for k, x in s.items()} for s in states for i in range(len(next(iter(s.values()))))]
        parts = [
            evaluate(env, net, single[p : p + most], seeds[p : p + most], sample, progress)
            for p in range(0, policies, most)
        ]
        return Scores(*(np.concatenate(x) for x in list(zip(*parts, strict=True))[:3]), parts[0].simulator)
    slots = max(d for d in range(1, battles + 1) if battles % d == 0 and (d == 1 or policies * d <= most))
    seeds = seeds.reshape(policies * slots, battles // slots)
    total, length, win = np.zeros(seeds.shape), np.zeros(seeds.shape, int), np.zeros(seeds.shape, bool)
    with closing(make(env, policies * slots)) as battle:
        act = BatchedPolicy.of(net, states, battle.spec.horizon, sample)
        for f in play(battle, act, seeds, progress):
            at = np.flatnonzero(f.live), f.turn[f.live]
            total[at] += f.after.reward[f.live]
            length[at] += 1
            win[at] = f.after.won[f.live]
        version = battle.version
    return Scores(*(x.reshape(policies, battles) for x in (total, win, length)), version)


def _most(env):
    """How many battles to fight side by side."""
    if env.startswith("smac"):
        from omac.envs.smac.env import most_battles

        return most_battles()
    return SLOTS

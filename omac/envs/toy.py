"""A toy with a known optimum, in plain NumPy: agents on a line must all reach its end. For tests and the method notebook."""

import numpy as np

from omac.envs.battle import Spec, Step, View, check_actions

AGENTS, LENGTH, HORIZON = 2, 4, 10
STAY, LEFT, RIGHT = range(3)


class Toy:
    """n = 2 agents start at seeded places 0..LENGTH-1 and walk; everyone at LENGTH is a win.

    Reward: 10 / (n LENGTH) for each step nearer (a step back costs as much), 10 for the win. An agent at LENGTH has
    arrived and can only stay, as a dead agent in SMAC can only stop. The optimum walks right: `optimum` knows it.
    """

    def __init__(self, map_name, battles):
        if map_name != "line":
            raise ValueError(f"no toy map {map_name!r}; there is line")
        self.spec = Spec("toy", "line", AGENTS, LENGTH + 2, AGENTS * (LENGTH + 1) + 1, 3, HORIZON)
        self.version = "toy"
        self.battles = battles
        self.at = None

    def reset(self, seeds, where=None):
        """See Battle.reset."""
        seeds = np.asarray(seeds, np.uint32)
        if seeds.shape != (self.battles,):
            raise ValueError(f"seeds have shape {seeds.shape}; {self.battles} battles need ({self.battles},)")
        if self.at is None:
            if where is not None and not np.all(where):
                raise ValueError("the first reset must begin every battle: leave `where` out")
            self.at, self.t = np.zeros((self.battles, AGENTS), int), np.zeros(self.battles, int)
        for e in np.flatnonzero(np.ones(self.battles, bool) if where is None else where):
            self.at[e] = np.random.default_rng(int(seeds[e])).integers(0, LENGTH, AGENTS)
            self.t[e] = 0
        return self._view()

    def step(self, action):
        """See Battle.step."""
        if self.at is None:
            raise RuntimeError("step before reset: call reset(seeds) first")
        over = self._terminated() | self._truncated()
        check_actions(action, self._avail(), over)
        move = np.where(over[:, None], 0, (np.asarray(action) == RIGHT).astype(int) - (np.asarray(action) == LEFT))
        self.at = self.at + move
        self.t = self.t + ~over
        won = self._terminated()
        reward = 10 * move.sum(1) / (AGENTS * LENGTH) + 10 * (won & ~over)
        return Step(self._view(), reward.astype(np.float32), won, self._truncated(), won.copy())

    def _terminated(self):
        return (self.at == LENGTH).all(1)

    def _truncated(self):
        return (self.t >= HORIZON) & ~self._terminated()

    def _avail(self):
        on = self.at < LENGTH
        return np.stack([np.ones_like(on), on & (self.at > 0), on], -1)

    def close(self):
        """See Battle.close: nothing runs outside."""

    def _view(self):
        place = np.eye(LENGTH + 1, dtype=np.float32)[self.at]
        time = (self.t / HORIZON).astype(np.float32)[:, None]
        obs = np.concatenate([place, np.repeat(time[:, None], AGENTS, 1)], -1)
        return View(obs, np.concatenate([place.reshape(self.battles, -1), time], 1), self._avail())


def optimum(start, gamma):
    """Return the best discounted return from places `start` int [...,n]: each agent walks right until it has arrived."""
    left = LENGTH - np.asarray(start)
    paid = sum(gamma**t * 10 * (left > t).sum(-1) / (AGENTS * LENGTH) for t in range(LENGTH))
    return paid + 10 * gamma ** (left.max(-1) - 1)

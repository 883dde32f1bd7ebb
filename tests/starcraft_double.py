"""A small stand-in for smac.env.StarCraft2Env: its methods, its order of features, its ways of failing. No game needed."""

import os
import subprocess
import time
from types import SimpleNamespace

import numpy as np

# agents, enemies, shields of ours and theirs, type bits, step limit
MAPS = {
    "5m_vs_6m": (5, 6, 0, 0, 0, 70),
    "6h_vs_8z": (6, 8, 0, 1, 0, 150),
    "3s5z_vs_3s6z": (8, 9, 1, 1, 2, 170),
    "corridor": (6, 24, 1, 0, 0, 400),
    "2m_vs_1m": (2, 1, 0, 0, 0, 12),
    "1s1z_vs_2z": (2, 2, 1, 1, 2, 12),
}
SIGHT, SHOOT = 9, 6
GAMES = {"running": 0}  # how many games this process has launched and not closed


class SC2LaunchError(Exception):
    """As pysc2 calls it."""


class Double:
    """fault: (how, battle seed, step, times, file that counts them), how = raise, die, hang, lost, width, differs or early.

    program: what it launches, as pysc2 does, in place of a game. late: how often it looks before all enemies are there.
    """

    reward_death_value, reward_win = 10, 200

    def __init__(
        self,
        map_name,
        seed=None,
        obs_last_action=False,
        continuing_episode=False,
        fault=None,
        wide=0,
        game=None,
        limit=None,
        closed=None,
        program=None,
        late=0,
    ):
        self.n_agents, self.n_enemies, self.shield_bits_ally, self.shield_bits_enemy, bits, self.limit = MAPS[map_name]
        self.unit_type_bits, self.n_actions, self.seed_, self.fault = bits, 6 + self.n_enemies, seed, fault
        self.last, self.says, self.wide, self.game = obs_last_action, continuing_episode, wide, game
        self.limit, self.closed, self.program, self.late = limit or self.limit, closed, program, late
        self.max_reward = self.n_enemies * self.reward_death_value + self.reward_win
        self.rng, self.t, self.force_restarts, self._controller = None, 0, 0, None

    def get_env_info(self):
        own = 1 + self.shield_bits_ally + self.unit_type_bits
        obs = 4 + self.n_enemies * (5 + self.shield_bits_enemy + self.unit_type_bits) + own
        obs += (self.n_agents - 1) * (4 + own + self.n_actions * self.last)
        sizes = {"n_agents": self.n_agents, "n_actions": self.n_actions, "episode_limit": self.limit}
        return {**sizes, "obs_shape": obs + self.wide, "state_shape": 4 * (self.n_agents + self.n_enemies)}

    def reset(self):
        if self.game:
            raise {
                "folder": FileNotFoundError("no StarCraftII/Versions"),
                "map": ValueError("Map x not found in /"),
                "version": ValueError("Unknown game version: 4.6.2. Known versions: ['latest']."),
            }[self.game]
        launched = self.rng is None
        if launched:  # the seed counts at launch only
            assert GAMES["running"] == 0, "a game was left open"
            if self.program:
                self._launch()
            GAMES["running"] += 1
            self.rng = np.random.default_rng(self.seed_)
            self._controller = SimpleNamespace(ping=lambda: SimpleNamespace(game_version="4.10.0", base_build=75689))
        n, m = self.n_agents, self.n_enemies
        self.t, self.at = 0, self.rng.uniform(0, 8, (n + m, 2))
        self.health = self.rng.integers(3, 8, n + m) / 8
        self.shield = self.rng.integers(1, 5, n + m) / 4
        self.enemies = {e: SimpleNamespace(health_max=100 * self.health[n + e], shield_max=0) for e in range(m)}
        for there in [m // 2] * self.late + [m] if launched else []:
            self.max_reward += sum(self.enemies[e].health_max for e in range(there))
        self.kind = np.arange(n + m) % max(self.unit_type_bits, 1)
        self.one_hot = np.zeros((n, self.n_actions))
        self._fail()
        return self.get_obs(), self.get_state()

    def _launch(self):
        folder, name = os.path.split(self.program)
        data, version = os.path.dirname(os.path.dirname(folder)), SimpleNamespace(build_version=int(folder[-5:]))
        self._run_config = SimpleNamespace(data_dir=data, version=version, _exec_name=name, env=None)
        if not os.access(self.program, os.X_OK):
            raise RuntimeError(f"Trying to run '{self.program}', but it isn't executable.")
        try:
            subprocess.run([self.program])
        except OSError:
            raise SC2LaunchError(f"Failed to launch: ['{self.program}']") from None
        raise ConnectionError("Failed to connect to the SC2 websocket. Is it up?")

    def close(self):
        if self.rng is not None:
            GAMES["running"] -= 1
            self.rng = None
            if self.closed:
                open(self.closed, "a").close()

    def _fail(self):
        how, seed, step, times, tally = self.fault or (None, None, None, 0, None)
        if seed != self.seed_:
            return
        failed = os.path.getsize(tally) if os.path.exists(tally) else 0
        if failed and how == "differs":  # the replay of a battle that crashed
            self.at = self.at + 0.01
        if failed and how == "early":
            self.health[self.n_agents :] = 0
        if step != self.t or failed >= times:
            return
        with open(tally, "a") as f:
            f.write("x")
        if how == "die":
            os._exit(3)
        elif how == "hang":
            time.sleep(60)
        elif how == "lost":
            self.force_restarts += 1
        elif how == "width":
            self.get_obs = lambda: [np.zeros(7)] * self.n_agents
        else:
            raise ConnectionError("the socket\nbroke")

    def step(self, actions):
        n, m, avail = self.n_agents, self.n_enemies, np.array(self.get_avail_actions())
        assert avail[np.arange(n), actions].all(), "an action that is not available"
        self.t, restarts = self.t + 1, self.force_restarts
        self._fail()
        if self.force_restarts != restarts:
            return 0, True, {}
        self.one_hot = np.eye(self.n_actions)[actions]
        before = self.health[n:].copy()
        for i, a in enumerate(actions):
            if 2 <= a < 6:
                self.at[i] += [(0, 2), (0, -2), (2, 0), (-2, 0)][a - 2]
            elif a >= 6:
                self._hit(n + a - 6)
        for _ in range(m if self.rng.random() < 0.5 else 0):
            alive = np.flatnonzero(self.health[:n])
            if len(alive) and self.health[n:].any():
                self._hit(self.rng.choice(alive))
        fallen = (before > 0) & (self.health[n:] == 0)
        reward = 100 * (before - self.health[n:]).sum() + self.reward_death_value * fallen.sum()
        won = bool(self.health[:n].any() and not self.health[n:].any())
        over = won or not self.health[:n].any()
        info = {"battle_won": won}
        if not over and self.t >= self.limit:
            over = True
            if self.says:
                info["episode_limit"] = True
        return (reward + self.reward_win * won) / (self.max_reward / 20), over, info

    def _hit(self, unit):
        self.health[unit] = max(0, self.health[unit] - (0.125 if unit < self.n_agents else 0.25))

    def _seen(self, i, unit):
        apart = self.at[unit] - self.at[i]
        distance = float(np.hypot(*apart))
        return self.health[unit] > 0 and distance < SIGHT, [distance / SIGHT, *(apart / SIGHT)]

    def _unit(self, unit, shields):
        kind = np.eye(self.unit_type_bits)[self.kind[unit]] if self.unit_type_bits else []
        return [self.health[unit], *([self.shield[unit]] if shields else []), *kind]

    def _obs(self, i):
        width = self.get_env_info()["obs_shape"]
        if not self.health[i]:
            return np.zeros(width, np.float32)
        avail, row = self.get_avail_actions()[i], []
        row += avail[2:6]
        for e in range(self.n_enemies):
            seen, place = self._seen(i, self.n_agents + e)
            unit = self._unit(self.n_agents + e, self.shield_bits_enemy)
            row += [avail[6 + e], *place, *unit] if seen else [0] * (4 + len(unit))
        for k in range(self.n_agents):
            if k != i:
                seen, place = self._seen(i, k)
                unit = self._unit(k, self.shield_bits_ally) + (list(self.one_hot[k]) if self.last else [])
                row += [1, *place, *unit] if seen else [0] * (4 + len(unit))
        return np.array(row + self._unit(i, self.shield_bits_ally) + [0] * self.wide, np.float32)

    def get_obs(self):
        return [self._obs(i) for i in range(self.n_agents)]

    def get_state(self):
        return np.concatenate([self.at.ravel() / 8, self.health, self.shield]).astype(np.float32)

    def get_avail_actions(self):
        rows = []
        for i in range(self.n_agents):
            if not self.health[i]:
                rows.append([1] + [0] * (self.n_actions - 1))
                continue
            (x, y), near = self.at[i], [self._near(i, self.n_agents + e) for e in range(self.n_enemies)]
            rows.append([0, 1, int(y < 8), int(y > 0), int(x < 8), int(x > 0), *near])
        return rows

    def _near(self, i, unit):
        return int(self.health[unit] > 0 and np.hypot(*(self.at[unit] - self.at[i])) <= SHOOT)

"""What runs in the process of one StarCraft II game: the package's environment and the care it needs."""

import contextlib
import importlib
import os
import re
import signal
import sys
from importlib import metadata
from typing import NamedTuple
from unittest import mock

import numpy as np

from omac.envs.smac import program


class Frame(NamedTuple):
    """One battle after a reset or a step: obs f32 [n,O] (package's order), state f32 [S], avail bool [n,A], ends."""

    obs: np.ndarray
    state: np.ndarray
    avail: np.ndarray
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    won: bool = False


class Crash(Exception):
    """A game or its process was lost; another try may succeed."""


class Missing(Exception):
    """StarCraft II or its maps are not installed; another try is of no use."""


class CannotRun(Exception):
    """StarCraft II is there and does not run on this machine; another try is of no use."""


class Refused(Exception):
    """The environment could not even be made: the map or a setting is unknown."""


OURS = (Crash, Missing, CannotRun, Refused)
ABSENT = re.compile(" not found in |^Unknown game version")  # in the package's errors


class Game:
    """Inside the process: the package's environment and the care it needs. One game is launched for each fresh battle."""

    def __init__(self, factory, settings):
        self.factory, self.settings = factory, settings
        self.env, self.ended = None, False

    def about(self):
        """Return the package's sizes, name and version; nothing is launched for that."""
        try:
            self._make(None)
        except Exception as e:
            raise Refused(_line(e)) from e
        e, package = self.env, self.factory.split(":")[0].split(".")[0]
        try:
            version = f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            version = f"{package} unknown"
        layout = e.n_agents, e.n_enemies, e.shield_bits_ally, e.shield_bits_enemy, e.unit_type_bits, e.n_actions
        return {**e.get_env_info(), "layout": layout, "version": version}

    def reset(self, seed, fresh):
        """Begin a battle: (Frame, whether a game was launched for it, that game's version).

        Without `fresh`, a game whose battle ended goes on. Raises Crash where the package hides that it lost the game,
        Missing or CannotRun where another try would be of no use.
        """
        launch = fresh or not self.ended
        if launch:
            self._make(seed)
        self.ended = False
        before = getattr(self.env, "force_restarts", 0)
        try:
            self.env.reset()
        except Exception as e:
            obstacle = program.obstacle(*program.launched_by(self.env)) if launch else ""
            if obstacle:
                raise CannotRun(obstacle) from e
            if isinstance(e, FileNotFoundError) or type(e).__name__ == "SC2LaunchError" or ABSENT.search(str(e)):
                raise Missing(_line(e)) from e  # no such folder; nothing to launch there; no such map or version in it
            raise
        if getattr(self.env, "force_restarts", 0) != before:
            raise Crash("StarCraft II was lost while the battle began")
        self._set_max_reward()
        return self._frame(), launch, self._running()

    def step(self, action):
        """Play action, a list of n whole numbers: Frame. Raises Crash where the package hides that it lost the game."""
        reward, over, info = self.env.step(action)
        if "battle_won" not in info:  # the package restarts a lost game itself and calls the battle over, but no more
            raise Crash("StarCraft II was lost during the step")
        limit = bool(over and info.get("episode_limit", False))
        self.ended = bool(over)
        return self._frame()._replace(
            reward=float(reward), terminated=bool(over) and not limit, truncated=limit, won=bool(info["battle_won"])
        )

    def close(self):
        """Close the game, if there is one."""
        if self.env is not None:
            self.env.close()

    def _make(self, seed):
        module, name = self.factory.split(":")
        make = getattr(importlib.import_module(module), name)
        self.close()
        with mock.patch("atexit.register"):  # it would keep closed environments until the end; they are closed here
            self.env = make(seed=seed, **self.settings)

    def _set_max_reward(self):
        """Make a won battle worth `reward_scale_rate`, 20, whenever its units appeared.

        Where some come late, the package looks again and again, and adds up all enemies that it sees at every look.
        """
        e = self.env
        health = sum(unit.health_max + unit.shield_max for unit in e.enemies.values())
        e.max_reward = len(e.enemies) * e.reward_death_value + e.reward_win + health

    def _running(self):
        controller = getattr(self.env, "_controller", None)
        if controller is None:
            return "unknown"
        pong = controller.ping()
        return f"{pong.game_version} (build {pong.base_build})"

    def _frame(self):
        obs, state, avail = self.env.get_obs(), self.env.get_state(), self.env.get_avail_actions()
        return Frame(np.array(obs, np.float32), np.array(state, np.float32), np.array(avail).astype(bool))


def serve(pipe, factory, settings):
    """Run the process: answer ("ok", value) or (kind, one line) to each (method of Game, arguments) until the pipe closes."""
    if hasattr(os, "setsid"):
        os.setsid()  # a group with its StarCraft II, so that both can be ended, and no interrupt from the keyboard
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the game is closed
    game = Game(factory, settings)
    with (
        contextlib.closing(game),
        contextlib.suppress(EOFError, OSError),
    ):  # the pipe closes: the parent is done, or gone
        while True:
            method, arguments = pipe.recv()
            try:
                answer = "ok", getattr(game, method)(*arguments)
            except Exception as e:
                answer = type(e).__name__, str(e) if isinstance(e, OURS) else _line(e)
            pipe.send(answer)


def _line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())

"""Real StarCraft II (oxwhirl/smac) behind the Battle contract: one game process for each battle, all step at once."""

import os
import weakref

import numpy as np

from omac.envs.battle import Spec, Step, View, check_actions
from omac.envs.smac import madt_obs
from omac.envs.smac.package import require_smac
from omac.envs.smac.process import Fight, Slot, end_all
from omac.envs.smac.worker import CannotRun, Crash, Frame, Missing, Refused

FACTORY = "smac.env:StarCraft2Env"


def most_battles():
    """Say how many games to run at once here: OMAC_SC2_PROCESSES, or one for each processor core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = os.environ.get("OMAC_SC2_PROCESSES") or str(cores)
    if not text.isdigit() or int(text) == 0:
        raise ValueError(
            f"OMAC_SC2_PROCESSES is {text!r}, not a whole number above 0: set it to the games to run at once"
        )
    return int(text)


def wants_fresh_games():
    """Say whether each battle gets a game of its own: OMAC_SC2_FRESH, 1 or 0; default 1."""
    text = os.environ.get("OMAC_SC2_FRESH") or "1"
    if text not in ("0", "1"):
        raise ValueError(
            f"OMAC_SC2_FRESH is {text!r}; it must be 1, a game for each battle, or 0, battles in a running game"
        )
    return text == "1"


class Smac:
    """E battles of one SMAC map, each in a StarCraft II of its own. See Battle; `close()`, or `with`, ends the games.

    observation: "stock" (the package's) or "madt" (see omac.envs.madt). fresh: launch a game for each battle with its
    seed, which the package takes at launch only, so that the same seeds give the same battles; False (or
    OMAC_SC2_FRESH=0) lets battles follow one another in a running game: faster, but not repeatable. A game that
    crashes, or does not answer within `timeout` seconds, is launched again and its battle replayed, at most `restarts`
    times a battle. settings: more arguments of StarCraft2Env. version: what to record with results; the game's is
    known from the first reset on. Rewards are the package's: shields that regenerate can bring a battle's sum a little above 20.

    Raises RuntimeError without the package or the game, ValueError for an unknown map or another width of observations.
    """

    version: str

    def __init__(
        self, map_name, battles, observation="stock", fresh=None, factory=FACTORY, timeout=300.0, restarts=3, **settings
    ):
        if observation not in ("stock", "madt"):
            raise ValueError(f"no observation {observation!r}: write stock or madt")
        if factory == FACTORY:
            require_smac()
        self.battles, self.begun = battles, False
        self.fresh = wants_fresh_games() if fresh is None else fresh
        last = observation == "madt"
        # continuing_episode only makes the package say that the time limit, not a defeat, ended a battle
        settings = {"map_name": map_name, "obs_last_action": last, "continuing_episode": True, **settings}
        slots = [Slot(factory, settings, timeout) for _ in range(battles)]
        self._fights = [Fight(e, slot, restarts) for e, slot in enumerate(slots)]
        self._finish = weakref.finalize(self, end_all, slots)
        about = self._about(slots[0], map_name)
        self.package, self.version = about["version"], f"{about['version']}, StarCraft II unknown"
        layout = madt_obs.Layout(*about["layout"])
        self._layout, self._width = layout if last else None, about["obs_shape"]
        if last and self._width != sum(madt_obs.parts(layout, True)):
            self.close()
            raise ValueError(
                f"{map_name}: get_env_info says observations of width {self._width}, MADT's order rearranges "
                f"{sum(madt_obs.parts(layout, True))}: leave the package's observation settings at their defaults"
            )
        width = madt_obs.width(layout) if last else self._width
        sizes = about["n_agents"], width, about["state_shape"], about["n_actions"], about["episode_limit"]
        self.spec = Spec("smac-madt" if last else "smac", map_name, *sizes)

    def reset(self, seeds, where=None):
        """See Battle.reset."""
        seeds = np.asarray(seeds, np.uint32)
        if seeds.shape != (self.battles,):
            raise ValueError(f"seeds have shape {seeds.shape}; {self.battles} battles need ({self.battles},)")
        where = np.ones(self.battles, bool) if where is None else np.asarray(where, bool)
        if not self.begun and not where.all():
            raise ValueError("the first reset must begin every battle: leave `where` out")
        self._all(np.flatnonzero(where), lambda fight: fight.begin(int(seeds[fight.e]), self.fresh))
        self.begun, self.version = True, f"{self.package}, StarCraft II {self._fights[0].running}"
        return self._view()

    def step(self, action):
        """See Battle.step."""
        if not self.begun:
            raise RuntimeError("step before reset: call reset(seeds) first")
        over = np.array([f.over for f in self._fights])
        check_actions(action, np.stack([f.frame.avail for f in self._fights]), over)
        self._all(np.flatnonzero(~over), lambda fight: fight.step(np.asarray(action)[fight.e].tolist()))
        reward, *ends = (np.array([getattr(f.frame, name) for f in self._fights]) for name in Frame._fields[3:])
        return Step(self._view(), np.where(over, 0, reward).astype(np.float32), *ends)

    def close(self):
        """End all games and their processes; nothing can be fought afterwards."""
        self._finish()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _about(self, slot, map_name):
        try:
            return slot.call("about")
        except (Crash, Refused) as e:
            self.close()
            if str(e).startswith("KeyError"):
                raise ValueError(f"no SMAC map {map_name!r}: `python -m smac.bin.map_list` lists them") from None
            raise RuntimeError(f"smac:{map_name}: no environment could be made: {e}") from None

    def _all(self, battles, ask):
        """Ask all these battles, then take every answer. After an error all are closed: answers may be left over."""
        if not self._finish.alive:
            raise RuntimeError("these battles are closed, by close() or by an error or interrupt: make others")
        fights = [self._fights[e] for e in battles]
        try:
            for fight in fights:
                ask(fight)
            for fight in fights:
                fight.take()
                found, said = fight.frame.obs.shape, (self.spec.n, self._width)
                if found != said:
                    raise ValueError(
                        f"battle {fight.e}, seed {fight.seed}: get_obs gave {found}, get_env_info says {said}: "
                        "use another release of the package"
                    )
        except Missing as e:
            self.close()
            raise RuntimeError(
                f"StarCraft II or its maps were not found ({e}): install StarCraft II 4.10, set SC2PATH to its folder "
                "and put SMAC's maps into its Maps/SMAC_Maps/"
            ) from None
        except CannotRun as e:
            self.close()
            raise RuntimeError(f"StarCraft II is there and cannot be run: {e}") from None
        except BaseException:
            self.close()
            raise

    def _view(self):
        obs, state, avail = (np.stack([f.frame[k] for f in self._fights]) for k in range(3))
        if self._layout is not None:
            last = np.zeros((*obs.shape[:2], self.spec.actions), np.float32)
            for e, fight in enumerate(self._fights):
                if fight.actions:
                    last[e, np.arange(self.spec.n), fight.actions[-1]] = 1
            obs = madt_obs.rearrange(obs, last, self._layout)
        return View(obs, state, avail)


def smac_madt(map_name, battles):
    """Smac with MADT's observation."""
    return Smac(map_name, battles, observation="madt")

"""StarCraft II processes from outside: `Slot` starts and ends one, `Fight` fights in it, again where it crashed."""

import contextlib
import multiprocessing
import os
import signal
import sys
import types
from multiprocessing import connection

import numpy as np

from omac.envs.smac.worker import OURS, Crash, serve

GRACE = 10.0  # seconds that a process may take to close its game
ALIKE = 1e-5  # how far a replayed battle's numbers may lie from those that were seen


class Slot:
    """Outside the process: starts it when it is first asked something, waits for answers, ends it."""

    def __init__(self, factory, settings, timeout):
        self.arguments, self.timeout = (factory, settings), timeout
        self.process = self.pipe = None

    def ask(self, method, *arguments):
        """Send a request; a process that cannot take it will be found out by `answer`."""
        if self.process is None:
            self._start()
        with contextlib.suppress(OSError):
            self.pipe.send((method, arguments))

    def answer(self):
        """Return the answer to the last request. Raises Crash, Missing, CannotRun or Refused."""
        try:
            if not self.pipe.poll(self.timeout):
                raise Crash(f"no answer within {self.timeout:g} s")
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            raise Crash("its process died") from None
        if kind != "ok":
            raise {error.__name__: error for error in OURS}.get(kind, Crash)(value)
        return value

    def call(self, method, *arguments):
        """Ask and wait."""
        self.ask(method, *arguments)
        return self.answer()

    def hang_up(self):
        """Tell the process that it can close its game and go."""
        if self.pipe is not None:
            self.pipe.close()

    def end(self, patience=0.0):
        """End the process and its game: give it `patience` seconds to go by itself, then end its group."""
        if self.process is None:
            return
        self.hang_up()
        if patience:
            connection.wait([self.process.sentinel], patience)
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.process.close()
        self.process = self.pipe = None

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *self.arguments), daemon=True)
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")  # or the process would import the parent's script first
        try:
            self.process.start()
        finally:
            sys.modules["__main__"] = main
            theirs.close()


def end_all(slots):
    """End the processes of `slots`, all at once."""
    for slot in slots:
        slot.hang_up()
    for slot in slots:
        slot.end(GRACE)


class Fight:
    """Battle number e in a Slot: what it was last asked, and what is needed to fight it again.

    frame: its last Frame. A crashed process is started again and the battle replayed, at most `restarts` times.
    """

    def __init__(self, e, slot, restarts):
        self.e, self.slot, self.restarts = e, slot, restarts

    @property
    def over(self):
        """Whether the battle has ended."""
        return self.frame.terminated or self.frame.truncated

    def begin(self, seed, fresh):
        """Ask for a new battle; `take` waits for it."""
        self.seed, self.actions, self.frame, self.crashes, self.launched = seed, [], None, 0, True
        self._ask("reset", seed, fresh)

    def step(self, action):
        """Ask for a step with action, a list of n whole numbers; `take` waits for it."""
        self._ask("step", action)

    def take(self):
        """Wait for the answer: `frame` is new.

        Raises Missing or CannotRun; RuntimeError: too many crashes, or another replay.
        """
        tries = [self.slot.answer] + [self._again] * (self.restarts - self.crashes)
        for attempt in tries:
            try:
                answer = attempt()
                break
            except Crash as crash:
                cause = crash
                self.crashes += 1
                self.slot.end()
        else:
            begun = self.frame is not None
            before, by_hand = ("", "") if begun else (" before the battle began", "start it by hand to see why; else ")
            raise RuntimeError(
                f"{self._name(len(self.actions))}: StarCraft II crashed {self.crashes} times{before}, the last time: "
                f"{cause}: {by_hand}fight fewer battles at once (OMAC_SC2_PROCESSES), or raise `timeout` or `restarts`"
            )
        if self.request[0] == "reset":
            self.frame, self.launched, self.running = answer
        else:
            self.frame = answer
            self.actions.append(self.request[1])

    def _ask(self, *request):
        self.request = request
        self.slot.ask(*request)

    def _again(self):
        """Replay the battle in a new process up to the last request, and answer that."""
        if self.request[0] == "reset":
            return self.slot.call("reset", self.seed, True)
        if not self.launched:
            raise RuntimeError(
                f"{self._name(len(self.actions))}: StarCraft II crashed, and a battle that did not begin in a game of its own "
                "has no replay: use fresh=True (OMAC_SC2_FRESH=1)"
            )
        frame = self.slot.call("reset", self.seed, True)[0]
        for t, action in enumerate(self.actions):
            if frame.terminated or frame.truncated or not frame.avail[np.arange(len(action)), action].all():
                raise self._differs(t)
            frame = self.slot.call("step", action)
        pairs = zip(frame[:3], self.frame[:3], strict=True)
        same = all(x.shape == y.shape and np.allclose(x, y, rtol=0, atol=ALIKE) for x, y in pairs)
        if frame.terminated or frame.truncated or not same:
            raise self._differs(len(self.actions))
        return self.slot.call(*self.request)

    def _differs(self, t):
        return RuntimeError(
            f"{self._name(t)}: StarCraft II crashed and the replay of this battle differs from what was seen: "
            "begin these battles again; if it comes back, the game here does not repeat its seeds"
        )

    def _name(self, t):
        return f"battle {self.e}, seed {self.seed}, step {t}"

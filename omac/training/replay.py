"""Batches on the seed axis: every seed draws its own transitions from one shared data set."""

from typing import NamedTuple

import numpy as np
import torch

from omac.nn.rows import Rows


class Batch(NamedTuple):
    """B transitions for each of K seeds.

    o, o_next [K,B,n,O], as Rows; s, s_next f32 [K,B,S]; a i64 [K,B,n]; avail bool [K,B,n,A] and alive f32 [K,B,n] at o;
    r f32 [K,B], in units of return; done f32 [K,B], 1 where nothing follows; ret f32 [K,B], the discounted return
    that followed in the data, of the same reward. Of the next step: avail_next bool [K,B,n,A] at o_next; a_next i64
    [K,B,n], the data's next action where follows f32 [K,B] is 1, without meaning at an episode's last step. key: one
    whole number per seed, drawn anew at each step, for algorithms that need random numbers.
    """

    o: Rows
    o_next: Rows
    s: torch.Tensor
    s_next: torch.Tensor
    a: torch.Tensor
    avail: torch.Tensor
    alive: torch.Tensor
    r: torch.Tensor
    done: torch.Tensor
    ret: torch.Tensor
    avail_next: torch.Tensor
    a_next: torch.Tensor
    follows: torch.Tensor
    key: tuple


class Replay:
    """The data set as tensors on one device; `draw` is a pure function of seed and step, so resuming needs no state."""

    def __init__(self, data, hyper, device="cpu"):
        row = data.rows()[1]
        r = data.reward
        if hyper.reward == "return_to_go":  # register 13: what OMIGA's released loader feeds the Bellman update
            r = data.to_go()
        done = data.terminated | (False if hyper.bootstrap_at_limit else data.truncated)
        n, columns = data.spec.n, np.flatnonzero(data.obs.any((0, 1)))
        # the last of o: what the dead see, a row for each agent
        o = np.zeros((len(data.obs) + 1, n, len(columns) + n), np.float32)
        o[:-1, :, : len(columns)] = data.obs[..., columns]
        o[:, :, len(columns) :] = np.eye(n)
        put = {
            "o": o.reshape(-1, o.shape[-1]),
            "columns": columns,
            "seen": data.obs.any(-1),
            "state": data.obs.reshape(len(data.obs), -1) if hyper.global_input == "joint_obs" else data.state,
            "avail": data.avail,
            "row": row,
            "a": data.action.astype(np.int64),
            "r": r,
            "done": done.astype(np.float32),
            "last": data.terminated | data.truncated,
            "ret": data.to_go(hyper.gamma, r),
        }
        self.x = {k: torch.from_numpy(np.ascontiguousarray(v)).to(device) for k, v in put.items()}
        self.batch_size, self.n, self.width, self.steps = hyper.batch_size, n, data.spec.obs, len(r)

    def draw(self, seeds, step):
        """The Batch of `step` for `seeds`: uniform over all transitions, with replacement (register 2)."""
        rngs = [np.random.default_rng([int(seed), step]) for seed in seeds]
        rows = [rng.integers(self.steps, size=self.batch_size) for rng in rngs]
        return self.at(torch.from_numpy(np.stack(rows)), tuple(int(rng.integers(2**62)) for rng in rngs))

    def at(self, t, key=()):
        """The Batch at transitions t int [K,B]."""
        x = self.x
        t = t.to(x["row"].device)
        row, last = x["row"][t], x["last"][t]
        avail = x["avail"][row]
        return Batch(
            self._rows(row),
            self._rows(row + 1),
            x["state"][row],
            x["state"][row + 1],
            x["a"][t],
            avail,
            (avail.sum(-1) > 1).float(),
            x["r"][t],
            x["done"][t],
            x["ret"][t],
            x["avail"][row + 1],
            x["a"][t + ~last],
            (~last).float(),
            key,
        )

    def _rows(self, row):
        """The observations at row i64 [K,B]: n rows for the dead, then those that something was seen in, seed by seed."""
        x, n = self.x, self.n
        agent = torch.arange(n, device=row.device)
        nothing = len(x["o"]) - n + agent
        seen = x["seen"][row]
        place = torch.where(seen, seen.flatten(1).cumsum(1).view(seen.shape) + (n - 1), agent)
        source = torch.where(seen, row[..., None] * n + agent, nothing)
        rows = nothing[0].repeat(len(row), int(place.max()) + 1)  # seeds with fewer rows end in rows that no one reads
        rows.scatter_(1, place.flatten(1), source.flatten(1))
        return Rows(x["o"][rows], place, x["columns"], self.width)

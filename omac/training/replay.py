"""Batches on the seed axis: every seed draws its own transitions from one shared data set."""

from typing import NamedTuple

import numpy as np
import torch

from omac.nn.rows import PackedObservations, Rows
from omac.shapes import Int, Tensor


class Batch(NamedTuple):
    """B transitions for each of K seeds.

    Attributes:
        o: [K,B,n,O] as Rows, local observations.
        o_next: [K,B,n,O] as Rows, those of the next step.
        s: f32 [K,B,S], the global input of the mixing networks (`global_input`).
        s_next: f32 [K,B,S], that of the next step.
        a: i64 [K,B,n], the data's actions.
        avail: bool [K,B,n,A], the actions available at o.
        alive: f32 [K,B,n], 1 for agents with a choice at o. A dead agent has a single available action.
        r: f32 [K,B], rewards, in units of return.
        done: f32 [K,B], 1 where no value of o_next counts.
        ret: f32 [K,B], the discounted return-to-go in the data, of the same rewards.
        avail_next: bool [K,B,n,A], the actions available at o_next.
        a_next: i64 [K,B,n], the data's next actions. Without meaning where `follows` is 0.
        follows: f32 [K,B], 1 where the data have a next action, 0 at an episode's last step.
        key: a whole number per seed, drawn anew at each step, for algorithms that need random numbers.

    A batch for policies alone holds o, a, avail, alive and key; the rest is None.
    """

    o: Rows
    a: torch.Tensor
    avail: torch.Tensor
    alive: torch.Tensor
    key: tuple
    o_next: Rows | None = None
    s: torch.Tensor | None = None
    s_next: torch.Tensor | None = None
    r: torch.Tensor | None = None
    done: torch.Tensor | None = None
    ret: torch.Tensor | None = None
    avail_next: torch.Tensor | None = None
    a_next: torch.Tensor | None = None
    follows: torch.Tensor | None = None


class Replay:
    """The data set as tensors on one device. `draw` is a pure function of seed and step, so resuming needs no state."""

    def __init__(self, data, hyper, device="cpu"):
        """Put a data set on a device.

        Args:
            data: Episodes with T transitions and V views. A view is what is observed at one moment; a transition leads
                from its view to the next one.
            hyper: Hyper; read are reward, gamma, bootstrap_at_limit, global_input and batch_size.
            device: where the tensors lie.
        """
        # register 13: with return_to_go, what OMIGA's released loader feeds the Bellman update
        reward = data.to_go() if hyper.reward == "return_to_go" else data.reward
        last = data.terminated | data.truncated
        done = data.terminated if hyper.bootstrap_at_limit else last
        joint_obs = data.obs.reshape(len(data.obs), -1)

        def put(x):
            return torch.from_numpy(np.ascontiguousarray(x)).to(device)

        # a row for each view
        self.obs = PackedObservations(data.obs, device)
        self.state = put(joint_obs if hyper.global_input == "joint_obs" else data.state)
        self.avail = put(data.avail)
        # a row for each transition; `view` is the row of its o, and that of its o_next is one further
        self.view = put(data.rows()[1])
        self.action = put(data.action.astype(np.int64))
        self.reward = put(reward)
        self.done = put(done.astype(np.float32))
        self.last = put(last)
        self.ret = put(data.to_go(hyper.gamma, reward))
        self.first = put(data.start[:-1])  # the first transition of each episode
        self.batch_size, self.steps = hyper.batch_size, len(reward)

    def draw(self, seeds, step: int) -> Batch:
        """Return the Batch of a step: for each seed transitions drawn uniformly, with replacement (register 2).

        Args:
            seeds: K whole numbers.
            step: number of the gradient step. The same seed and step draw the same transitions.
        """
        return self.at(*self.choose(seeds, step))

    def choose(self, seeds, step: int) -> tuple[Int[Tensor, "K B"], tuple]:
        """Return the transitions of a step, and a random whole number per seed. Arguments as `draw`."""
        rngs = [np.random.default_rng([int(seed), step]) for seed in seeds]
        t = np.stack([rng.integers(self.steps, size=self.batch_size) for rng in rngs])
        key = tuple(int(rng.integers(2**62)) for rng in rngs)
        return torch.from_numpy(t).to(self.view.device), key

    def for_policies(self, t: Int[Tensor, "K B"], key: tuple = ()) -> Batch:
        """Return the Batch at transitions t, without what values alone read."""
        view = self.view[t]
        avail = self.avail[view]
        alive = (avail.sum(-1) > 1).float()
        return Batch(o=self.obs.at(view), a=self.action[t], avail=avail, alive=alive, key=key)

    def at(self, t: Int[Tensor, "K B"], key: tuple = ()) -> Batch:
        """Return the Batch at transitions t."""
        t = t.to(self.view.device)
        view, last = self.view[t], self.last[t]
        return self.for_policies(t, key)._replace(
            o_next=self.obs.at(view + 1),
            s=self.state[view],
            s_next=self.state[view + 1],
            r=self.reward[t],
            done=self.done[t],
            ret=self.ret[t],
            avail_next=self.avail[view + 1],
            a_next=self.action[t + ~last],
            follows=(~last).float(),
        )

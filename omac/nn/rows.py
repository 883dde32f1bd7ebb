"""Local observations without what repeats: packed once for a data set, spread out again behind a network.

The networks that take them are in nn/networks.py.
"""

from typing import NamedTuple

import numpy as np
import torch


class Rows(NamedTuple):
    """Local observations o_i [K,B,n,O] of a batch, of which a network computes R rows a seed instead of B n.

    Attributes:
        x: f32 [K,R,C+n], the rows: C columns of an observation, then the one-hot id of its agent.
        place: i64 [K,B,n], the row of each agent.
        columns: i64 [C], the places of the C columns in a dense observation. The others are zero throughout the data.
        width: O.
    """

    x: torch.Tensor
    place: torch.Tensor
    columns: torch.Tensor
    width: int

    @property
    def shape(self):
        """(K, B, n, O), the shape of the dense observations."""
        return torch.Size((*self.place.shape, self.width))

    def dense(self):
        """Return the dense observations, f32 [K,B,n,O], which AgentMLP takes too."""
        filled = spread(self.x, self.place)[..., : len(self.columns)]
        return filled.new_zeros(self.shape).index_copy_(-1, self.columns, filled)


def for_each(o, networks):
    """Give each seed's observations to so many networks side by side: [K,...] becomes [K*networks,...]; dense or as Rows."""
    if networks == 1:
        return o
    if isinstance(o, Rows):
        return o._replace(x=o.x.repeat_interleave(networks, 0), place=o.place.repeat_interleave(networks, 0))
    return o.repeat_interleave(networks, 0)


def spread(y, place):
    """Give each agent its row: y [K,R,W] at rows place i64 [K,B,n] -> [K,B,n,W]."""
    K, B, n = place.shape
    return y.gather(1, place.view(K, B * n, 1).expand(-1, -1, y.shape[-1])).view(K, B, n, -1)


class PackedObservations:
    """All local observations of a data set. A batch of them, `at(row)`, holds nothing twice: at(row).dense() is obs[row].

    Two things repeat. A dead unit sees zeros, so one row for each agent stands for all its dead steps: a third of all
    rows on SMAC's hard maps. And columns that are zero throughout the data (the types of units that do not fight here)
    meet weights that never learn, so neither they nor those weights take part.
    """

    def __init__(self, obs, device="cpu"):
        """Pack the observations f32 [V,n,O] of V views, and put them on a device."""
        views, self.n, self.width = obs.shape
        columns = np.flatnonzero(obs.any((0, 1)))
        # one view more than the data have: what the dead see, zeros, a row for each agent
        x = np.zeros((views + 1, self.n, len(columns) + self.n), np.float32)
        x[:-1, :, : len(columns)] = obs[..., columns]
        x[:, :, len(columns) :] = np.eye(self.n)
        self.x = torch.from_numpy(x.reshape(-1, x.shape[-1])).to(device)
        self.columns = torch.from_numpy(columns).to(device)
        self.filled = torch.from_numpy(obs.any(-1)).to(device)  # [V,n], False where an agent sees nothing

    def at(self, row):
        """Return the observations of views `row` i64 [K,B] as Rows.

        A seed's rows are those of the dead, agent by agent, then the rows that something is seen in, in their order.
        """
        agent = torch.arange(self.n, device=row.device)
        empty = len(self.x) - self.n + agent  # rows of self.x: what dead agents see
        filled = self.filled[row]
        # where an agent's row is among its seed's: the n of the dead come first, then each filled one has its own
        count = filled.flatten(1).cumsum(1).view(filled.shape)
        place = torch.where(filled, self.n - 1 + count, agent)
        # and where it is in self.x
        source = torch.where(filled, row[..., None] * self.n + agent, empty)
        # a seed with fewer rows than another ends in copies of an empty one, which no agent has. How many there are, a GPU
        # would have to be waited for: there all seeds have room for every row
        most = int(place.max()) + 1 if row.device.type == "cpu" else self.n + place[0].numel()
        rows = empty[0].repeat(len(row), most)
        rows.scatter_(1, place.flatten(1), source.flatten(1))
        return Rows(self.x[rows], place, self.columns, self.width)

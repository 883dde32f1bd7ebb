"""Local observations without what repeats: the rows that a network must really compute."""

from typing import NamedTuple

import torch


class Rows(NamedTuple):
    """Local observations o_i [K,B,n,O] without what repeats and what is nowhere filled.

    x f32 [K,R,C+n]: rows that differ, C columns of an observation beside the one-hot id of its agent; place i64 [K,B,n]:
    the row of each agent. A dead unit sees zeros, so that one row for each agent stands for all its dead steps: a third
    of them on SMAC's hard maps. columns i64 [C] of `width` O: those that are not zero throughout the data; the matrix
    rows of the others (the types of units that do not fight here) meet zeros alone and never learn.
    """

    x: torch.Tensor
    place: torch.Tensor
    columns: torch.Tensor
    width: int

    @property
    def shape(self):
        """(K, B, n, O), that of the dense observations."""
        return torch.Size((*self.place.shape, self.width))

    def dense(self):
        """o_i, f32 [K,B,n,O], as AgentMLP takes it too."""
        seen = spread(self.x, self.place)[..., : len(self.columns)]
        return seen.new_zeros(self.shape).index_copy_(-1, self.columns, seen)


def spread(y, place):
    """y [K,R,W] at rows place i64 [K,B,n] -> [K,B,n,W]."""
    K, B, n = place.shape
    return y.gather(1, place.view(K, B * n, 1).expand(-1, -1, y.shape[-1])).view(K, B, n, -1)

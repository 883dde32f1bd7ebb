"""Networks on the seed axis: K independent copies of each network in one tensor, and the factorization of Eqs. 2-3."""

import math
from typing import NamedTuple

import torch
from torch import nn


def generators(seeds):
    """One random generator per seed; pass the list to every network of a stack, in a fixed order."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def _uniform(gens, shape, bound):
    """[K, *shape], slice k drawn from U(-bound, bound) by seed k's own generator."""
    return nn.Parameter(torch.stack([torch.rand(shape, generator=g) for g in gens]).mul_(2 * bound).sub_(bound))


class SeedLinear(nn.Module):
    """K linear maps side by side: y_k = x_k W_k + b_k, x [K,R,in] -> [K,R,out]. Initialised as torch.nn.Linear.

    The only class that knows there are K seeds; `fan_in` counts inputs that enter as a bias (the agent id).
    """

    def __init__(self, gens, inputs, outputs, fan_in=None):
        super().__init__()
        bound = 1 / math.sqrt(fan_in or inputs)
        self.weight = _uniform(gens, (inputs, outputs), bound)
        self.bias = _uniform(gens, (1, outputs), bound)

    def forward(self, x):
        """x [K,R,in] -> [K,R,out]."""
        return torch.baddbmm(self.bias, x, self.weight)


class Head(SeedLinear):
    """An output layer: SeedLinear for few outputs, a matrix product that libraries are slow at unless it is transposed."""

    def forward(self, x):
        """x [K,R,in] -> [K,R,out]."""
        return _Transposed.apply(self.bias, x, self.weight)


class _Transposed(torch.autograd.Function):
    """x W + b as (W^T x^T + b^T)^T, and its gradients: what torch.baddbmm gives, two to ten times as fast for few columns."""

    @staticmethod
    def forward(ctx, bias, x, weight):
        flat = weight.mT.clone(memory_format=torch.contiguous_format)  # [K,out,in]
        ctx.save_for_backward(x, flat)
        return torch.baddbmm(bias.mT, flat, x.mT).mT

    @staticmethod
    def backward(ctx, g):
        x, flat = ctx.saved_tensors
        return g.sum(1, keepdim=True), torch.bmm(g, flat), torch.bmm(g.mT, x).mT


class MLP(nn.Module):
    """ReLU MLP on [K,R,in]; `widths` are the layers' outputs. With `last_relu` it ends in a hidden layer (f^(1) of Eq. 3)."""

    def __init__(self, gens, inputs, widths, last_relu=False):
        super().__init__()
        sizes = [inputs, *widths]
        kinds = [SeedLinear] * (len(widths) - 1) + [SeedLinear if last_relu else Head]
        self.layers = nn.ModuleList(k(gens, a, b) for k, a, b in zip(kinds, sizes, sizes[1:], strict=False))
        self.last_relu = last_relu

    def forward(self, x):
        """x [K,R,in] -> [K,R,last width]."""
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        x = self.layers[-1](x)
        return x.relu_() if self.last_relu else x


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


class AgentMLP(nn.Module):
    """One network for all n agents, told apart by a one-hot id: V_i, Q_i, pi_i. A.1: three layers, ReLU.

    [K,B,n,O] or Rows -> [K,B,n,out]. The id's columns of the first layer are `agent` [K,n,hidden]: a bias for dense
    observations, which saves the copy; rows of the layer's matrix for Rows, which hold the id.
    """

    def __init__(self, gens, n, inputs, hidden, outputs):
        super().__init__()
        self.first = SeedLinear(gens, inputs, hidden, fan_in=inputs + n)
        self.agent = _uniform(gens, (n, hidden), 1 / math.sqrt(inputs + n))
        self.rest = MLP(gens, hidden, (hidden, outputs))

    def forward(self, o):
        """o [K,B,n,O] or Rows -> [K,B,n,out]."""
        if isinstance(o, Rows):
            whole = torch.cat([self.first.weight.index_select(1, o.columns), self.agent], 1)
            return spread(self.rest(torch.baddbmm(self.first.bias, o.x, whole).relu_()), o.place)
        K, B, n, _ = o.shape
        h = self.first(o.reshape(K, B * n, -1)).view(K, B, n, -1)
        h = (h + self.agent[:, None]).relu_()
        return self.rest(h.view(K, B * n, -1)).view(K, B, n, -1)


class Factorization(nn.Module):
    """Fig. 1: the weights and shared value of Eqs. (2) and (3), from the full observation o and the joint action.

        h_v = f_v1(o)   h_q = f_q1(o, a)   w_v = |f_v2(h_v)|   w_q = |f_q2([h_v, h_q])|

    credit "coupled" is the paper's; "independent" leaves h_v out of w_q (OMAC-CVF-w/o-CCA); "tied" sets w_q := w_v,
    which makes Eq. (2) linear mixing with b := V_share (OMAC-w/o-CVF and the baselines). A.1: three layers of `hidden`.
    """

    def __init__(self, gens, n, state, actions, hidden, credit="coupled"):
        super().__init__()
        if credit not in ("coupled", "independent", "tied"):
            raise ValueError(f"credit is {credit!r}; choose coupled (Eq. 3), independent (w/o CCA) or tied (w/o CVF)")
        self.credit, self.actions = credit, actions
        self.f_v1 = MLP(gens, state, (hidden, hidden), last_relu=True)
        self.f_v2 = Head(gens, hidden, n)
        self.share = MLP(gens, state, (hidden, hidden, 1))
        if credit != "tied":
            self.f_q1 = MLP(gens, state + n * actions, (hidden, hidden), last_relu=True)
            self.f_q2 = Head(gens, 2 * hidden if credit == "coupled" else hidden, n)

    def value(self, o):
        """o [K,B,S] -> w_v [K,B,n] >= 0, V_share [K,B], h_v [K,B,hidden]."""
        h_v = self.f_v1(o)
        return self.f_v2(h_v).abs(), self.share(o)[..., 0], h_v

    def forward(self, o, a):
        """o [K,B,S], a int [K,B,n] -> w_v [K,B,n] >= 0, w_q [K,B,n] >= 0, V_share [K,B]."""
        w_v, v_share, h_v = self.value(o)
        if self.credit == "tied":
            return w_v, w_v, v_share
        one_hot = torch.nn.functional.one_hot(a, self.actions).flatten(2).to(o.dtype)
        h = self.f_q1(torch.cat([o, one_hot], -1))
        if self.credit == "coupled":
            h = torch.cat([h_v, h], -1)
        return w_v, self.f_q2(h).abs(), v_share

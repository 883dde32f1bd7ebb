"""Networks on the seed axis: K independent copies of each network in one tensor."""

import math

import torch
from torch import nn

from omac.nn.rows import Rows, spread


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

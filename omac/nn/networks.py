"""Networks on the seed axis: K independent copies of each network in one tensor."""

import math

import torch
from torch import nn

from omac.nn.rows import Rows, spread


def generators(seeds):
    """Make one random generator per seed. Pass the list to every network of an algorithm, in a fixed order."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def _uniform(gens, shape, bound):
    """Draw a parameter [K, *shape] from U(-bound, bound), slice k from seed k's own generator."""
    return nn.Parameter(torch.stack([torch.rand(shape, generator=g) for g in gens]).mul_(2 * bound).sub_(bound))


class SeedLinear(nn.Module):
    """K linear maps side by side: y_k = x_k W_k + b_k. The only class that knows there are K seeds."""

    def __init__(self, gens, inputs, outputs, fan_in=None):
        """Draw weights and biases as torch.nn.Linear does.

        Args:
            gens: one random generator per seed.
            inputs, outputs: widths.
            fan_in: number of inputs, those included that enter as a bias (the agent id). Default `inputs`.
        """
        super().__init__()
        bound = 1 / math.sqrt(fan_in or inputs)
        self.weight = _uniform(gens, (inputs, outputs), bound)
        self.bias = _uniform(gens, (1, outputs), bound)

    def forward(self, x):
        """x [K,R,in] -> [K,R,out]."""
        return torch.baddbmm(self.bias, x, self.weight)


class Head(SeedLinear):
    """An output layer: a SeedLinear of few outputs. Libraries multiply such narrow matrices slowly unless transposed."""

    def forward(self, x):
        """x [K,R,in] -> [K,R,out]."""
        return _Transposed.apply(self.bias, x, self.weight)


class _Transposed(torch.autograd.Function):
    """x W + b as (W^T x^T + b^T)^T, and its gradients: what torch.baddbmm gives, two to ten times as fast for few columns."""

    @staticmethod
    def forward(ctx, bias, x, weight):
        """bias [K,1,out], x [K,R,in], weight [K,in,out] -> [K,R,out]."""
        flat = weight.mT.clone(memory_format=torch.contiguous_format)  # [K,out,in]
        ctx.save_for_backward(x, flat)
        return torch.baddbmm(bias.mT, flat, x.mT).mT

    @staticmethod
    def backward(ctx, g):
        """g [K,R,out] -> the gradients of bias, x and weight."""
        x, flat = ctx.saved_tensors
        return g.sum(1, keepdim=True), torch.bmm(g, flat), torch.bmm(g.mT, x).mT


class MLP(nn.Module):
    """ReLU MLP on [K,R,in]."""

    def __init__(self, gens, inputs, widths, last_relu=False):
        """Build the layers.

        Args:
            gens: one random generator per seed.
            inputs: width of the input.
            widths: outputs of each layer.
            last_relu: end in a hidden layer (f^(1) of Eq. 3) instead of a linear output.
        """
        super().__init__()
        hidden = len(widths) - (0 if last_relu else 1)
        sizes = [inputs, *widths]
        self.layers = nn.ModuleList()
        for i in range(len(widths)):
            kind = SeedLinear if i < hidden else Head
            self.layers.append(kind(gens, sizes[i], sizes[i + 1]))
        self.last_relu = last_relu

    def forward(self, x):
        """x [K,R,in] -> [K,R,last width]."""
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        x = self.layers[-1](x)
        return x.relu_() if self.last_relu else x


class AgentMLP(nn.Module):
    """One network for all n agents, told apart by a one-hot id: V_i, Q_i, pi_i. A.1: three layers, ReLU.

    The id's columns of the first layer are `agent` [K,n,hidden]. For dense observations they are biases, which saves
    copying the id beside each observation. For Rows, which hold the id, they are rows of the layer's matrix.
    """

    def __init__(self, gens, n, inputs, hidden, outputs):
        """Build the layers.

        Args:
            gens: one random generator per seed.
            n: agents.
            inputs: width O of a local observation.
            hidden, outputs: units of a hidden layer, and of the last one.
        """
        super().__init__()
        self.first = SeedLinear(gens, inputs, hidden, fan_in=inputs + n)
        self.agent = _uniform(gens, (n, hidden), 1 / math.sqrt(inputs + n))
        self.rest = MLP(gens, hidden, (hidden, outputs))

    def forward(self, o):
        """o [K,B,n,O], dense or as Rows -> [K,B,n,out]. Both give the same, but for rounding."""
        return self._of_rows(o) if isinstance(o, Rows) else self._of_dense(o)

    def _of_rows(self, o):
        """Compute each row once, then give each agent its row."""
        weight = torch.cat([self.first.weight.index_select(1, o.columns), self.agent], 1)
        h = torch.baddbmm(self.first.bias, o.x, weight).relu_()
        return spread(self.rest(h), o.place)

    def _of_dense(self, o):
        K, B, n, _ = o.shape
        h = self.first(o.reshape(K, B * n, -1)).view(K, B, n, -1)
        h = (h + self.agent[:, None]).relu_()
        return self.rest(h.view(K, B * n, -1)).view(K, B, n, -1)

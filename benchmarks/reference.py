"""The peer: OMAC for one seed as PyTorch code of this field is usually written. Same data, sizes, batch and losses; none of our tricks.

One network call per quantity, the agent id concatenated to the observation, a DataLoader of shuffled transitions, three optimisers.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def mlp(inputs, hidden, outputs):
    """Three layers with ReLU."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


class Reference:
    """Algorithm 1 for one seed, with a DataLoader over Episodes `data`."""

    def __init__(self, data, hyper, seed):
        torch.manual_seed(seed)
        spec, self.h = data.spec, hyper
        self.n, self.actions = spec.n, spec.actions
        inputs = spec.obs + spec.n
        self.v, self.q = mlp(inputs, hyper.hidden, 1), mlp(inputs, hyper.hidden, spec.actions)
        self.pi = mlp(inputs, hyper.hidden, spec.actions)
        small = hyper.cca_hidden
        self.f_v1 = nn.Sequential(nn.Linear(spec.state, small), nn.ReLU(), nn.Linear(small, small), nn.ReLU())
        joint = spec.state + spec.n * spec.actions
        self.f_q1 = nn.Sequential(nn.Linear(joint, small), nn.ReLU(), nn.Linear(small, small), nn.ReLU())
        self.f_v2, self.f_q2 = nn.Linear(small, spec.n), nn.Linear(2 * small, spec.n)
        self.share = mlp(spec.state, small, 1)
        self.bars = [copy.deepcopy(m) for m in self._moving()]
        mix = [p for m in (self.f_v1, self.f_q1, self.f_v2, self.f_q2, self.share) for p in m.parameters()]
        self.adam_v = torch.optim.Adam(self.v.parameters(), hyper.lr_value)
        self.adam_q = torch.optim.Adam([*self.q.parameters(), *mix], hyper.lr_value)
        self.adam_pi = torch.optim.Adam(self.pi.parameters(), hyper.lr_policy)
        row = data.rows()[1]
        columns = (data.obs[row], data.obs[row + 1], data.state[row], data.state[row + 1], data.action, data.avail[row])
        tensors = [torch.from_numpy(x) for x in (*columns, data.reward, data.terminated)]
        loader = DataLoader(TensorDataset(*tensors), hyper.batch_size, shuffle=True, drop_last=True)
        self.batches = self._forever(loader)

    def _moving(self):
        return [self.v, self.q, self.f_v1, self.f_v2, self.share]

    @staticmethod
    def _forever(loader):
        while True:
            yield from loader

    def step(self):
        """One gradient step of every network, and the soft update of the targets."""
        o, o_next, s, s_next, a, avail, r, done = next(self.batches)
        a, done = a.long(), done.float()
        ids = torch.eye(self.n).expand(len(o), -1, -1)
        x, x_next = torch.cat([o, ids], -1), torch.cat([o_next, ids], -1)
        v_bar, q_bar, f_v1_bar, f_v2_bar, share_bar = self.bars
        with torch.no_grad():
            target_q = q_bar(x).gather(-1, a[..., None])[..., 0]
            v_next = v_bar(x_next)[..., 0]
            v_tot_next = (f_v2_bar(f_v1_bar(s_next)).abs() * v_next).sum(-1) + share_bar(s_next)[..., 0]
            target = r + self.h.gamma * (1 - done) * v_tot_next
        u = target_q - self.v(x)[..., 0]
        self._descend(self.adam_v, ((self.h.tau - (u < 0).float()).abs() * u**2).mean(), [self.v])
        v = self.v(x)[..., 0].detach()
        q = self.q(x).gather(-1, a[..., None])[..., 0]
        h_v = self.f_v1(s)
        h_q = self.f_q1(torch.cat([s, F.one_hot(a, self.actions).flatten(1).float()], -1))
        w_v, w_q = self.f_v2(h_v).abs(), self.f_q2(torch.cat([h_v, h_q], -1)).abs()
        q_tot = (w_v * v).sum(-1) + self.share(s)[..., 0] + (w_q * (q - v)).sum(-1)
        trained = [self.q, self.f_v1, self.f_v2, self.f_q1, self.f_q2, self.share]
        self._descend(self.adam_q, ((target - q_tot) ** 2).mean(), trained)
        weight = (self.h.beta * (target_q - v)).exp().clamp(max=self.h.max_weight)
        log_pi = F.log_softmax(self.pi(x).masked_fill(~avail, -1e9), -1).gather(-1, a[..., None])[..., 0]
        self._descend(self.adam_pi, -(weight * log_pi).mean(), [self.pi])
        for bar, online in zip(self.bars, self._moving(), strict=True):
            for p_bar, p in zip(bar.parameters(), online.parameters(), strict=True):
                p_bar.data.copy_(self.h.polyak * p.data + (1 - self.h.polyak) * p_bar.data)

    def _descend(self, adam, loss, modules):
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for m in modules for p in m.parameters()], self.h.grad_clip)
        adam.step()

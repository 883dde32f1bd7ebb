"""The factorization of Eqs. (2) and (3): credit weights and the shared value."""

import torch
from torch import nn

from omac.nn.networks import MLP, Head


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

"""The factorization of Eqs. (2) and (3): credit weights and the shared value. Eq. (2) itself is in nn/losses.py."""

from typing import NamedTuple

import torch
from torch import nn

from omac.nn.networks import MLP, Head
from omac.shapes import Float, Int, Tensor


class ValueCredit(NamedTuple):
    """What V_tot needs beside the local values.

    Attributes:
        w_v: [K,B,n], at least 0.
        v_share: [K,B], in units of return.
        h_v: [K,B,hidden], the features that w_v is made of and that Eq. (3) hands to w_q.
    """

    w_v: torch.Tensor
    v_share: torch.Tensor
    h_v: torch.Tensor


class Credit(NamedTuple):
    """What Eq. (2) needs beside the local values.

    Attributes:
        w_v: [K,B,n], at least 0.
        w_q: [K,B,n], at least 0.
        v_share: [K,B], in units of return.
    """

    w_v: torch.Tensor
    w_q: torch.Tensor
    v_share: torch.Tensor


class Factorization(nn.Module):
    """Compute the weights and the shared value of Eqs. (2) and (3), as in Figure 1.

        h_v = f_v1(o)   h_q = f_q1(o, a)   w_v = |f_v2(h_v)|   w_q = |f_q2([h_v, h_q])|

    `credit` says what w_q reads. "coupled" is the paper's. "independent" leaves h_v out (OMAC-CVF-w/o-CCA). "tied" sets
    w_q := w_v, which makes Eq. (2) linear mixing with b := V_share (OMAC-w/o-CVF and the baselines).
    """

    def __init__(self, gens, n, state, actions, hidden, credit="coupled"):
        """Build the networks of K seeds, three layers each (A.1).

        Args:
            gens: one random generator per seed (`generators`).
            n: agents.
            state: width S of the full observation.
            actions: A of each agent.
            hidden: units of a layer.
            credit: coupled, independent or tied.
        Raises:
            ValueError: another `credit`.
        """
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

    def value(self, o: Float[Tensor, "K B S"]) -> ValueCredit:
        """Return the ValueCredit of the full observation o [K,B,S]."""
        h_v = self.f_v1(o)
        return ValueCredit(w_v=self.f_v2(h_v).abs(), v_share=self.share(o)[..., 0], h_v=h_v)

    def forward(self, o: Float[Tensor, "K B S"], a: Int[Tensor, "K B n"]) -> Credit:
        """Return the Credit of the full observation o [K,B,S] and the joint action a, int [K,B,n]."""
        w_v, v_share, h_v = self.value(o)
        if self.credit == "tied":
            return Credit(w_v, w_v, v_share)
        one_hot = torch.nn.functional.one_hot(a, self.actions).flatten(2).to(o.dtype)
        h = self.f_q1(torch.cat([o, one_hot], -1))
        if self.credit == "coupled":
            h = torch.cat([h_v, h], -1)
        return Credit(w_v, self.f_q2(h).abs(), v_share)

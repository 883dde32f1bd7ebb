"""OMAC on one page: the paper's algorithm for one seed in plain PyTorch, to be read and to be copied.

    python examples/omac_single_file.py DATA.h5 [--steps N] [--policy-steps N] [--seed S]

Equations, lines and sections are the paper's. Eqs. (1), (4) and (7) are conditions: Eqs. (2), (5) and (8) serve them.
The values are learnt first, then the policy, as Algorithm 1 prints it. Where the paper leaves a choice, this is the
package's: V_i, w_v and V_share have target copies, too; the advantage is Qbar_i - V_i; pi_i has available actions alone.

This file does not import the package. To evaluate the policy in the package's simulators, start Python in examples/:

    from omac.envs import make
    from omac.evaluation import BatchedPolicy, battle_seeds, rollout
    from omac_single_file import add_id, main

    nets = main(["DATA.h5"])
    battle = make("smax:6h_vs_8z", 32)
    act = BatchedPolicy(lambda o: nets.pi(add_id(o)), 1, battle.spec.horizon)
    fought = rollout(battle, act, battle_seeds(1, shape=(32, 1)), about={})
    print("mean return", fought.returns.mean(), "win rate", fought.win.mean())
"""

import argparse
import copy
from collections import namedtuple
from dataclasses import dataclass

import h5py
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm, trange


@dataclass(frozen=True)
class Hyper:
    """Table 2, and two numbers that the paper leaves open."""

    tau: float = 0.7  # expectile of Eq. (5). 0.5: the mean; towards 1: the maximum over the data's actions
    beta: float = 1.0  # Eq. (8). 0: cloning; larger: trust the values more. A.3 has 0.5 for four data sets
    gamma: float = 0.99  # discount factor
    polyak: float = 0.005  # target update rate
    lr_value: float = 5e-4
    lr_policy: float = 5e-4
    batch_size: int = 128
    hidden: int = 256  # width of V_i, Q_i and pi_i
    cca_hidden: int = 64  # width of w_v, w_q and V_share
    max_weight: float = 100.0  # open: the clip of exp(beta A), IQL's
    grad_clip: float = 1.0  # open: the largest gradient norm of each group of networks


# B transitions of n agents with A actions; the whole data set is a Batch, too.
# o, o_next f32 [B,n,O]: local observations, each with its agent's id. s, s_next f32 [B,S]: the full observation.
# a i64 [B,n]: actions. r f32 [B]: reward. done f32 [B]: 1 where nothing follows; a time limit is no such end.
# avail bool [B,n,A]: actions that are available at o. ret f32 [B]: discounted return that followed, read by no loss.
Batch = namedtuple("Batch", "o o_next s s_next a r done avail ret")


def add_id(o):
    """Append each agent's one-hot id to its observation, so that all agents share their networks."""
    n = o.shape[-2]
    return torch.cat([o, torch.eye(n).expand(*o.shape[:-1], n)], -1)


def read(path, gamma):
    """Read an HDF5 file of N episodes and T steps in all. Returns a Batch of all transitions.

    Episode e begins at row start[e] of action, reward and terminated [T,...], and at row start[e] + e of obs, state and
    avail [T+N,...], where every episode keeps its final observation.
    """
    with h5py.File(path) as f:
        x = {k: f[k][()] for k in ("start", "obs", "state", "avail", "action", "reward", "terminated")}
    T, N = len(x["reward"]), len(x["start"]) - 1
    row = np.arange(T) + np.repeat(np.arange(N), np.diff(x["start"]))  # of o; o' is one further
    ret = x["reward"].astype(np.float64)
    for t in np.setdiff1d(np.arange(T), x["start"] - 1)[::-1]:  # every step but the last of each episode
        ret[t] += gamma * ret[t + 1]
    o, s, avail, a = (torch.from_numpy(x[k]) for k in ("obs", "state", "avail", "action"))
    r, done, ret = (torch.from_numpy(y).float() for y in (x["reward"], x["terminated"], ret))
    o = add_id(o)
    return Batch(o[row], o[row + 1], s[row], s[row + 1], a.long(), r, done, avail[row], ret)


def hidden_layers(inputs, width):
    """Make two layers with ReLU: f^(1) of Eq. (3)."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())


def mlp(inputs, width, outputs):
    """Make the three layers of A.1."""
    return hidden_layers(inputs, width).append(nn.Linear(width, outputs))


class Factorization(nn.Module):
    """Eqs. (2) and (3): global values, mixed from the local ones q, v [B,n]."""

    def __init__(self, n, state, actions, width):
        super().__init__()
        self.f_v1, self.f_v2 = hidden_layers(state, width), nn.Linear(width, n)
        self.f_q1, self.f_q2 = hidden_layers(state + n * actions, width), nn.Linear(2 * width, n)
        self.v_share, self.actions = mlp(state, width, 1), actions

    def w_v(self, s):
        """Eq. (3): h_v = f_v1(o), w_v = |f_v2(h_v)|. Returns [B,n]."""
        return self.f_v2(self.f_v1(s)).abs()

    def w_q(self, s, a):
        """Eq. (3): h_q = f_q1(o, a), w_q = |f_q2([h_v, h_q])|, coupled to w_v by the same h_v. Returns [B,n]."""
        one_hot = F.one_hot(a, self.actions).flatten(1).to(s.dtype)
        h_v, h_q = self.f_v1(s), self.f_q1(torch.cat([s, one_hot], -1))
        return self.f_q2(torch.cat([h_v, h_q], -1)).abs()

    def v_tot(self, s, v):
        """Eq. (2): V_tot(o) = sum_i w_v_i(o) V_i(o_i) + V_share(o). Returns [B]."""
        return (self.w_v(s) * v).sum(-1) + self.v_share(s).squeeze(-1)

    def q_tot(self, s, a, q, v):
        """Eq. (2): Q_tot(o, a) = V_tot(o) + sum_i w_q_i(o, a) (Q_i(o_i, a_i) - V_i(o_i)). Returns [B]."""
        return self.v_tot(s, v) + (self.w_q(s, a) * (q - v)).sum(-1)


class Networks(nn.Module):
    """Algorithm 1, lines 1 and 2: V_i, Q_i, pi_i, the factorization, and the target copies."""

    def __init__(self, data, hyper):
        super().__init__()
        n, inputs = data.o.shape[1:]
        state, actions = data.s.shape[1], data.avail.shape[2]
        self.v, self.q, self.pi = (mlp(inputs, hyper.hidden, outputs) for outputs in (1, actions, actions))
        self.mix = Factorization(n, state, actions, hyper.cca_hidden)
        self.v_bar, self.q_bar, self.mix_bar = copy.deepcopy([self.v, self.q, self.mix])


def gather_actions(x, a):
    """Pick from x [B,n,A] the entries of the actions a [B,n]. Returns [B,n]."""
    return x.gather(-1, a[..., None]).squeeze(-1)


def expectile_loss(u, tau):
    """Eq. (5): |tau - 1(u < 0)| u^2, averaged over batch and agents. u = Qbar_i(o_i, a_i) - V_i(o_i), [B,n]."""
    weight = (tau - (u < 0).to(u.dtype)).abs()
    return (weight * u**2).mean()


def td_loss(r, done, v_tot_next, q_tot, gamma):
    """Eq. (6): (r + gamma V_tot(o') - Q_tot(o, a))^2, averaged over the batch; no V_tot(o') where nothing follows."""
    target = r + gamma * (1 - done) * v_tot_next
    return ((target - q_tot) ** 2).mean()


def awr_weight(adv, beta, max_weight):
    """Eq. (8), its weight: exp(beta A), at most max_weight. adv [B,n]."""
    return (beta * adv).exp().clamp(max=max_weight)


def awr_loss(weight, log_pi):
    """Eq. (8): -exp(beta A) log pi_i(a_i | o_i), averaged over batch and agents. The paper drops the minus."""
    return -(weight * log_pi).mean()


def optimisers(nets, hyper):
    """Make Adam for the values, V_i and Q_i with its factorization, which are clipped apart, and Adam for pi_i."""
    values = [{"params": nn.ModuleList(group).parameters()} for group in ([nets.v], [nets.q, nets.mix])]
    return torch.optim.Adam(values, hyper.lr_value), torch.optim.Adam(nets.pi.parameters(), hyper.lr_policy)


def descend(adam, losses, limit):
    """Move networks down their losses, the gradient of each group clipped. Returns the losses, and the norms before."""
    adam.zero_grad()
    sum(losses).backward()
    norms = [nn.utils.clip_grad_norm_(group["params"], limit) for group in adam.param_groups]
    adam.step()
    return losses, norms


def update_values(nets, adam, batch, hyper):
    """Do lines 5 to 8 of Algorithm 1 once. Returns the losses of V and Q, and their gradient norms.

    V_i is read once, before its own step. What a loss only reads is detached: one backward pass serves both losses.
    """
    o, o_next, s, s_next, a, r, done, _, _ = batch
    v = nets.v(o).squeeze(-1)
    q = gather_actions(nets.q(o), a)
    with torch.no_grad():
        q_bar = gather_actions(nets.q_bar(o), a)
        v_tot_next = nets.mix_bar.v_tot(s_next, nets.v_bar(o_next).squeeze(-1))

    # line 5, Eq. (5): V_i becomes the upper expectile of the target Qbar_i
    loss_v = expectile_loss(q_bar - v, hyper.tau)
    # lines 6 and 7, Eqs. (2), (3) and (6): Q_i, w_v, w_q and V_share learn the team's Bellman equation
    q_tot = nets.mix.q_tot(s, a, q, v.detach())
    loss_q = td_loss(r, done, v_tot_next, q_tot, hyper.gamma)
    losses, norms = descend(adam, [loss_v, loss_q], hyper.grad_clip)
    # line 8: the target copies follow their networks
    with torch.no_grad():
        for net, bar in ((nets.v, nets.v_bar), (nets.q, nets.q_bar), (nets.mix, nets.mix_bar)):
            for p, p_bar in zip(net.parameters(), bar.parameters(), strict=True):
                p_bar.lerp_(p, hyper.polyak)
    return losses, norms


@torch.no_grad()
def advantage(nets, batch):
    """Compute A_i = Qbar_i - V_i of the data's actions. Returns [B,n]."""
    return gather_actions(nets.q_bar(batch.o), batch.a) - nets.v(batch.o).squeeze(-1)


def update_policy(nets, adam, batch, hyper):
    """Do line 11 of Algorithm 1 once, Eq. (8): pi_i clones the data's actions, weighted by their advantages.

    Returns the loss of pi, and its gradient norm, as lists of one.
    """
    weight = awr_weight(advantage(nets, batch), hyper.beta, hyper.max_weight)
    log_pi = F.log_softmax(nets.pi(batch.o).masked_fill(~batch.avail, -1e9), -1)
    return descend(adam, [awr_loss(weight, gather_actions(log_pi, batch.a))], hyper.grad_clip)


@torch.no_grad()
def summary(nets, data, hyper):
    """Hold Q_tot against the return that followed, and say how exp(beta A) spreads: without spread, Eq. (8) clones."""
    some = Batch(*(x[:: 1 + len(x) // 2_048] for x in data))
    v, q = nets.v(some.o).squeeze(-1), gather_actions(nets.q(some.o), some.a)
    q_tot = nets.mix.q_tot(some.s, some.a, q, v)
    weight = awr_weight(advantage(nets, some), hyper.beta, hyper.max_weight)
    values = f"Q_tot {q_tot.mean():.2f}, return that followed {some.ret.mean():.2f}"
    return f"{values}, exp(beta A) {weight.mean():.3f} ± {weight.std():.3f}"


def draw(data, count):
    """Do line 4: draw `count` transitions, with replacement. Returns a Batch."""
    rows = torch.randint(len(data.r), (count,))
    return Batch(*(x[rows] for x in data))


def train(data, hyper, steps, policy_steps, seed):
    """Train on a Batch of all transitions: lines 3 to 9 of Algorithm 1, then lines 10 to 12. Returns the Networks."""
    torch.manual_seed(seed)
    nets = Networks(data, hyper)
    adam_values, adam_policy = optimisers(nets, hyper)
    for step in trange(1, steps + 1, desc="values", unit="step", disable=None):
        update_values(nets, adam_values, draw(data, hyper.batch_size), hyper)
        if step % 1_000 == 0 or step == steps:
            tqdm.write(f"step {step}: {summary(nets, data, hyper)}")
    for step in trange(1, policy_steps + 1, desc="policy", unit="step", disable=None):
        (loss,), _ = update_policy(nets, adam_policy, draw(data, hyper.batch_size), hyper)
        if step % 1_000 == 0 or step == policy_steps:
            tqdm.write(f"policy step {step}: loss of Eq. (8) {loss:.3f}")
    return nets


def main(argv=None):
    """Train on the file that the command line names. Returns the Networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="an HDF5 file of the project: data/episodes/*.h5")
    parser.add_argument("--steps", type=int, default=8_000, help="of the values")
    parser.add_argument("--policy-steps", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    try:
        data = read(args.data, Hyper.gamma)
    except (OSError, KeyError) as e:
        parser.error(f"{args.data} is not a file as `python -m omac subsample` writes it: {e}")
    nets = train(data, Hyper(), args.steps, args.policy_steps, args.seed)
    print("To evaluate this policy in a simulator, see the top of examples/omac_single_file.py.")
    return nets


if __name__ == "__main__":
    main()

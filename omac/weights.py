"""Figure 4: w_v_i(o) beside the mean of w_q_i(o, a) over the agent's own action, sampled from finished networks."""

import numpy as np
import pandas as pd
import torch

from omac.config import load_params, settings
from omac.datasets import held_of, load, split
from omac.paths import BUILD, ROOT, atomic
from omac.policy import MASKED, take
from omac.replay import Replay
from omac.training import train

VARIANTS = ("default", "wo_cca")  # w_q coupled to w_v (Eq. 3), and the control without
DISTRIBUTIONS = ("data", "greedy", "uniform")  # of a_i; the paper does not say which
PAIRS = 600  # of each seed and variant


@torch.no_grad()
def credit(nets, batch):
    """6.4.2: w_v_i(o) and E_{a_i}[w_q_i(o, a_i, a_-i)], the other agents' actions a_-i as in the data.

    Returns (w_v [K,B,n], {distribution: [K,B,n]}): a_i is the data's, the greedy one of pi_i, or uniform over the
    available actions, for which the mean is exact.
    """
    w_v = nets.mix(batch.s, batch.a)[0]
    w_q = torch.zeros(batch.avail.shape)  # at each action of each agent
    for i in range(w_q.shape[2]):
        for a in range(w_q.shape[3]):
            joint = batch.a.clone()
            joint[..., i] = a
            w_q[..., i, a] = nets.mix(batch.s, joint)[1][..., i]
    greedy = nets.pi(batch.o).masked_fill(~batch.avail, MASKED).argmax(-1)
    uniform = (w_q * batch.avail).sum(-1) / batch.avail.sum(-1)
    return w_v, dict(zip(DISTRIBUTIONS, (take(w_q, batch.a), take(w_q, greedy), uniform), strict=True))


def pairs(nets, data, hyper, seeds, count=PAIRS):
    """`count` pairs of each seed, on Episodes `data`: rows seed, agent, w_v and a column for each of DISTRIBUTIONS.

    Transitions are spread evenly over the data; of each, one agent is drawn among those that have a choice (a dead one
    can only stop). The same transitions and agents for every seed.
    """
    replay, rng = Replay(data, hyper), np.random.default_rng(0)
    alive = data.avail[data.rows()[1]].sum(-1) > 1
    some = np.flatnonzero(alive.any(1))
    t = some[np.linspace(0, len(some) - 1, min(count, len(some))).astype(int)]
    agent = np.array([rng.choice(np.flatnonzero(who)) for who in alive[t]])
    batch = replay.at(torch.from_numpy(t).expand(len(seeds), -1))
    w_v, w_q = credit(nets, batch)
    drawn = {name: x[:, np.arange(len(t)), agent].flatten().numpy() for name, x in {"w_v": w_v, **w_q}.items()}
    return pd.DataFrame({"seed": np.repeat(seeds, len(t)), "agent": np.tile(agent, len(seeds)), **drawn})


def sample(dataset, profile, params=None, folder=ROOT / "data", variants=VARIANTS, device="auto"):
    """The pairs of a data set's finished cells on its held-out episodes, with a column `variant`.

    A cell's checkpoint is taken as it is when it belongs to these data, settings, seeds and code; a missing one is
    trained first, with the same result. Raises DataError for missing data.
    """
    params = params or load_params()
    _, map_name, level, _ = split(dataset)
    torch.set_num_threads(params["threads"])
    data, held = load(dataset, folder), load(held_of(dataset), folder)
    tables = []
    for variant in variants:
        hyper, seeds = settings(params, profile, map_name, level, variant)
        checkpoint = BUILD / "checkpoints" / f"{dataset}-omac-{variant}-{profile}.pt"  # as study.run_cell names it
        nets = train(data, "omac", hyper, seeds, checkpoint, device, held=held).nets.cpu()
        tables.append(pairs(nets, held, hyper, seeds).assign(variant=variant))
    return pd.concat(tables, ignore_index=True)[["variant", "seed", "agent", "w_v", *DISTRIBUTIONS]]


def path(dataset, folder=ROOT / "data"):
    """data/weights/<dataset>.csv."""
    return folder / "weights" / f"{dataset}.csv"


def write(table, out):
    """Write pairs as CSV with four digits, atomically; the same pairs give the same bytes. Returns the path."""
    with atomic(out) as part:
        table.to_csv(part, index=False, float_format="%.4g", lineterminator="\n")
    return out


def correlations(table):
    """How w_v goes with the mean of w_q: Pearson's and Spearman's coefficient for each variant, distribution and seed.

    `agent` is Pearson's coefficient within one agent, averaged over agents: agents that differ in the mean of both
    weights raise the other two. Then two lines over all seeds: "pooled", and "scaled", where each seed's weights are first
    divided by their mean, because the scale of w_q is not identified.
    """
    columns = ["w_v", *(x for x in DISTRIBUTIONS if x in table)]
    scaled = table.assign(**table[columns] / table.groupby(["variant", "seed"])[columns].transform("mean"))
    lines = []
    for variant, part in table.groupby("variant", sort=False):
        groups = {str(seed): group for seed, group in part.groupby("seed")}
        groups |= {"pooled": part, "scaled": scaled.loc[part.index]}
        for x in columns[1:]:
            for name, group in groups.items():
                each = [g["w_v"].corr(g[x]) for _, g in group.groupby(["seed", "agent"])]
                both = [group["w_v"].corr(group[x], method=m) for m in ("pearson", "spearman")]
                lines.append([variant, x, name, *both, np.mean(each)])
    return pd.DataFrame(lines, columns=["variant", "a_i", "seed", "pearson", "spearman", "agent"])

"""Figure 4: w_v_i(o) beside the mean of w_q_i(o, a) over the agent's own action, sampled from finished networks."""

import numpy as np
import pandas as pd
import torch

from omac.config import load_params, settings
from omac.datasets.registry import DataSet, load
from omac.nn.policy import MASKED, take
from omac.paths import BUILD, ROOT
from omac.schema import DISTRIBUTIONS
from omac.training.replay import Replay
from omac.training.trainer import train

SAMPLED = ("default", "wo_cca")  # w_q coupled to w_v (Eq. 3), and the control without
PAIRS_A_SEED = 600  # of each seed and variant


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


def pairs(nets, data, hyper, seeds, count=PAIRS_A_SEED):
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


def sample(dataset, profile, params=None, folder=ROOT / "data", variants=SAMPLED, device="auto"):
    """The pairs of a data set's finished cells on its held-out episodes, with a column `variant`.

    A cell's checkpoint is taken as it is when it belongs to these data, settings, seeds and code; a missing one is
    trained first, with the same result. Raises DataError for missing data.
    """
    params = params or load_params()
    wanted = DataSet.parse(dataset)
    torch.set_num_threads(params["threads"])
    data, held = load(dataset, folder), load(wanted.held.name, folder)
    tables = []
    for variant in variants:
        hyper, seeds = settings(params, profile, wanted.map, wanted.level, variant)
        checkpoint = BUILD / "checkpoints" / f"{dataset}-omac-{variant}-{profile}.pt"  # as study.run_cell names it
        nets = train(data, "omac", hyper, seeds, checkpoint, device, held=held).nets.cpu()
        tables.append(pairs(nets, held, hyper, seeds).assign(variant=variant))
    return pd.concat(tables, ignore_index=True)[["variant", "seed", "agent", "w_v", *DISTRIBUTIONS]]

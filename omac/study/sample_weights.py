"""Figure 4: w_v_i(o) beside the mean of w_q_i(o, a) over the agent's own action, sampled from finished networks."""

import numpy as np
import pandas as pd
import torch

from omac.config.hyper import load_params
from omac.datasets.registry import DataSet, load
from omac.nn.policy import MASKED, policy_logits, take
from omac.paths import ROOT
from omac.schema import DISTRIBUTIONS
from omac.study.cell import cell_settings, checkpoint_path
from omac.training.replay import Replay
from omac.training.trainer import train

SAMPLED = ("default", "wo_cca")  # w_q coupled to w_v (Eq. 3), and the control without
PAIRS_A_SEED = 600  # of each seed and variant


@torch.no_grad()
def credit(nets, batch):
    """Compute w_v_i(o) and E_{a_i}[w_q_i(o, a_i, a_-i)] of 6.4.2, the other agents' actions a_-i as in the data.

    Args:
        nets: OMAC's networks, of K seeds.
        batch: Batch.
    Returns:
        (w_v [K,B,n], {distribution of a_i: w_q [K,B,n]}). a_i is the data's, the greedy one of the published pi_i, or uniform over
        the available actions, for which the mean is exact.
    """
    w_v = nets.mix(batch.s, batch.a).w_v
    w_q = torch.zeros(batch.avail.shape)  # at each action of each agent
    for i in range(w_q.shape[2]):
        for a in range(w_q.shape[3]):
            joint = batch.a.clone()
            joint[..., i] = a
            w_q[..., i, a] = nets.mix(batch.s, joint).w_q[..., i]
    published = policy_logits(nets.pi, batch)[:, 0]
    greedy = published.masked_fill(~batch.avail, MASKED).argmax(-1)
    uniform = (w_q * batch.avail).sum(-1) / batch.avail.sum(-1)
    return w_v, dict(zip(DISTRIBUTIONS, (take(w_q, batch.a), take(w_q, greedy), uniform), strict=True))


def pairs(nets, data, hyper, seeds, count=PAIRS_A_SEED):
    """Sample pairs of weights: the same transitions, spread evenly over the data, and agents for every seed.

    Of each transition one agent is drawn among those that have a choice (a dead one can only stop).

    Args:
        nets: OMAC's networks.
        data: Episodes.
        hyper: Hyper that they were trained with.
        seeds: of the networks.
        count: pairs of each seed.
    Returns:
        A DataFrame with the columns seed, agent, w_v and one for each of DISTRIBUTIONS.
    """
    replay, rng = Replay(data, hyper), np.random.default_rng(0)
    # the transitions
    has_choice = data.avail[data.rows()[1]].sum(-1) > 1
    some = np.flatnonzero(has_choice.any(1))
    t = some[np.linspace(0, len(some) - 1, min(count, len(some))).astype(int)]
    # an agent of each
    agent = np.array([rng.choice(np.flatnonzero(choice)) for choice in has_choice[t]])
    # their weights
    batch = replay.at(torch.from_numpy(t).expand(len(seeds), -1))
    w_v, w_q = credit(nets, batch)
    columns = {name: x[:, np.arange(len(t)), agent].flatten().numpy() for name, x in {"w_v": w_v, **w_q}.items()}
    return pd.DataFrame({"seed": np.repeat(seeds, len(t)), "agent": np.tile(agent, len(seeds)), **columns})


def sample(dataset, profile, params=None, folder=ROOT / "data", variants=SAMPLED, device="auto"):
    """Sample the pairs of a data set's finished cells on its held-out episodes.

    A cell's checkpoint is taken as it is when it belongs to these data, settings, seeds and code. A missing one is
    trained first, with the same result.

    Args:
        dataset, profile, params, folder, device: as study.cell.run_cell.
        variants: of OMAC.
    Returns:
        The DataFrame of `pairs` with a column `variant` in front.
    Raises:
        DataError: missing data.
    """
    params = params or load_params()
    wanted = DataSet.parse(dataset)
    torch.set_num_threads(params["threads"])
    data, held = load(dataset, folder), load(wanted.held.name, folder)
    tables = []
    for variant in variants:
        hyper, policies, seeds = cell_settings(params, dataset, "omac", variant, profile, device)
        checkpoint = checkpoint_path(dataset, "omac", variant, profile)
        trained = train(data, "omac", hyper, seeds, policies, checkpoint, device, held=held)
        table = pairs(trained.nets.cpu(), held, hyper, seeds)
        tables.append(table.assign(variant=variant))
    return pd.concat(tables, ignore_index=True)[["variant", "seed", "agent", "w_v", *DISTRIBUTIONS]]

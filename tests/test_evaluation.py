"""What `evaluate` scores is what `rollout` keeps of the same battles."""

import numpy as np
import pytest
import torch

from omac import evaluation
from omac.envs.toy import Toy
from omac.evaluation import BatchedPolicy, battle_seeds, evaluate, rollout
from omac.nn.networks import AgentMLP, generators

BATTLES = 12  # of each policy


class HardToy(Toy):
    """The toy, but whoever arrives before the fourth step has lost: battles end won, lost or undecided."""

    def step(self, action):
        after = super().step(action)
        return after._replace(won=after.won & (self.t >= 4))


@pytest.fixture
def policies(monkeypatch):
    """A network of two seeds, and three snapshots of it that prefer to walk right ever more."""
    monkeypatch.setattr(evaluation, "make", lambda env, battles: HardToy("line", battles))
    net = AgentMLP(generators([0, 1]), 2, 6, 8, 3)
    states = [{name: x.clone() for name, x in net.state_dict().items()} for _ in range(3)]
    for right, state in zip((-1.0, 0.0, 1.0), states, strict=True):
        state["rest.layers.1.bias"] += torch.tensor([0.0, 0.0, right])
    return net, states


@pytest.mark.parametrize("sample", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("side_by_side", [320, 24, 4], ids=["at once", "three turns a slot", "four policies at a time"])
def test_evaluate_scores_what_rollout_keeps_of_the_same_battles(side_by_side, sample, policies, monkeypatch):
    monkeypatch.setattr(evaluation, "_most", lambda env: side_by_side)
    net, states = policies
    seeds = battle_seeds(5, shape=(6, BATTLES))
    scores = evaluate("toy:line", net, states, seeds, sample, gamma=0.9)
    decided = np.zeros(scores.win.shape, bool)
    for p in range(6):
        alone = [{name: x[p % 2 : p % 2 + 1] for name, x in states[p // 2].items()}]
        battle = HardToy("line", 3)
        act = BatchedPolicy.of(net, alone, battle.spec.horizon, sample)
        kept = rollout(battle, act, seeds[p].reshape(3, 4), {"policies": ["p"]})
        np.testing.assert_allclose(scores.returns[p], kept.returns, rtol=1e-6, atol=1e-6)
        by_hand = [(0.9 ** np.arange(len(r)) * r).sum() for r in np.split(kept.reward.astype(float), kept.start[1:-1])]
        np.testing.assert_allclose(scores.discounted[p], by_hand, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(scores.win[p], kept.win)
        np.testing.assert_array_equal(scores.length[p], kept.lengths)
        decided[p] = kept.terminated[kept.start[1:] - 1]
    # battles of every kind: won, lost and undecided
    assert scores.win.any() and (decided & ~scores.win).any() and (~decided).any()
    assert len(np.unique(scores.length)) > 3 and (scores.win <= decided).all()


def test_without_a_discount_the_discounted_return_is_the_return(policies):
    net, states = policies
    scores = evaluate("toy:line", net, states, battle_seeds(5, shape=(6, BATTLES)))
    np.testing.assert_array_equal(scores.discounted, scores.returns)


def test_a_rollout_keeps_each_battle_whole_whatever_the_slots(policies):
    """Every array equals that of one slot for each battle; a battle has one view more than it has steps."""
    net, states = policies
    seeds = battle_seeds(6, shape=(BATTLES,))
    kept = []
    for slots in (BATTLES, 4, 1):
        battle = HardToy("line", slots)
        act = BatchedPolicy.of(net, [{name: x[:1] for name, x in states[1].items()}], battle.spec.horizon, sample=True)
        kept.append(rollout(battle, act, seeds.reshape(slots, -1), {"policies": ["p"]}))
    wide, *others = kept
    assert len(wide.obs) == len(wide.reward) + BATTLES and wide.start[-1] == len(wide.reward)
    for e in range(BATTLES):  # the step's clock, the last of an observation, runs from 0 to the battle's length
        clock = wide.obs[wide.start[e] + e : wide.start[e + 1] + e + 1, 0, -1] * 10
        np.testing.assert_allclose(clock, np.arange(wide.lengths[e] + 1), atol=1e-5)
    for other in others:
        for name in ("obs", "state", "avail", "action", "reward", "terminated", "truncated", "start", "win"):
            np.testing.assert_array_equal(getattr(other, name), getattr(wide, name), err_msg=name)


@pytest.mark.parametrize("sample", [False, True], ids=["greedy", "sampled"])
def test_greedy_takes_the_best_available_action_and_sampling_follows_the_softmax_anew_at_each_step(sample):
    logits, battles = torch.tensor([0.0, 1.0, 2.0]), 4000
    act = BatchedPolicy(lambda o: logits.expand(*o.shape[:3], 3), 1, horizon=2, sample=sample)
    obs, avail = np.zeros((battles, 2, 5), np.float32), np.ones((battles, 2, 3), bool)
    avail[:, 1, 2] = False  # agent 1 lacks the best one
    first, second = (act(obs, avail, np.arange(battles), np.full(battles, t)) for t in (0, 1))
    if not sample:
        assert (first == [2, 1]).all() and (second == [2, 1]).all()
        return
    for agent, actions in ((0, 3), (1, 2)):
        share = np.bincount(first[:, agent], minlength=3) / battles
        np.testing.assert_allclose(share[:actions], logits[:actions].softmax(0), atol=0.03)
    assert not (first[:, 1] == 2).any() and 0.2 < (first[:, 0] != second[:, 0]).mean() < 0.8


def test_a_rollout_says_which_policy_fought_each_battle():
    battle = Toy("line", 4)
    act = BatchedPolicy(lambda x: torch.zeros(*x.shape[:3], 3), 1, battle.spec.horizon, sample=True)
    seeds, about = battle_seeds(5, shape=(4, 1)), {"policies": ["a", "b"]}
    fought = rollout(battle, act, seeds, about, policy=[1, 0, 1, 1]).policy
    assert fought.tolist() == [1, 0, 1, 1] and fought.dtype == np.int32
    assert rollout(battle, act, seeds, about).policy.tolist() == [0, 0, 0, 0]

"""One test per equation and per line of Algorithm 1. The README's equation table points here."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from handmade import policy_loss
from scipy.optimize import minimize

from omac.algorithms import bc, omac
from omac.config.hyper import Hyper
from omac.envs.toy import LENGTH, optimum
from omac.nn import losses
from omac.nn.factorization import Factorization
from omac.nn.networks import generators
from omac.nn.policy import log_pi, log_probs
from omac.training.replay import Replay
from omac.training.trainer import Trainer, train


def nets_and_batch(toy, hyper, seeds=(0, 1), module=omac):
    """Networks of a few seeds and one batch of the toy data."""
    replay = Replay(toy, hyper)
    return module.build(toy.spec, hyper, generators(seeds)), replay.draw(seeds, 0)


def grads(nets, loss):
    """Names of the networks that `loss` sends a gradient to."""
    nets.zero_grad()
    loss.sum().backward()
    return {name.split(".")[0] for name, p in nets.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


def test_eq1_and_property1_hold_when_v_is_the_maximum_of_q(draw):
    """IGM and max_a Q_tot = V_tot, over all joint actions, for V_i = max Q_i and any weights >= 0."""
    n, A = 3, 4
    q = draw(0, n, A)
    v = q.max(-1).values
    w_v, v_share = draw(1, n).abs(), draw(2)
    v_tot = losses.v_tot(w_v, v, v_share)
    joint = list(itertools.product(range(A), repeat=n))
    w_q = draw(3, len(joint), n).abs()  # a weight of its own for every joint action
    q_tot = torch.stack([losses.q_tot(v_tot, w_q[j], q[range(n), a], v) for j, a in enumerate(joint)])
    assert joint[int(q_tot.argmax())] == tuple(q.argmax(-1).tolist())
    assert torch.isclose(q_tot.max(), v_tot)


def test_property1_needs_the_maximum_an_expectile_breaks_it():
    """With V_i below the maximum, Q_tot of the greedy joint action lies above V_tot."""
    q = torch.tensor([[0.0, 1.0]])
    v = torch.tensor([0.7])
    assert losses.q_tot(losses.v_tot(torch.ones(1), v, torch.tensor(0.0)), torch.ones(1), q.max(-1).values, v) > 0.7


def test_eq2_equals_a_literal_loop(draw):
    K, B, n = 2, 3, 4
    w_v, w_q, q, v, share = (
        draw(0, K, B, n).abs(),
        draw(1, K, B, n).abs(),
        draw(2, K, B, n),
        draw(3, K, B, n),
        draw(4, K, B),
    )
    v_tot = losses.v_tot(w_v, v, share)
    q_tot = losses.q_tot(v_tot, w_q, q, v)
    for k, b in itertools.product(range(K), range(B)):
        want_v = sum(w_v[k, b, i] * v[k, b, i] for i in range(n)) + share[k, b]
        want_q = want_v + sum(w_q[k, b, i] * (q[k, b, i] - v[k, b, i]) for i in range(n))
        assert torch.isclose(v_tot[k, b], want_v) and torch.isclose(q_tot[k, b], want_q)


@pytest.mark.parametrize("credit", ["coupled", "independent", "tied"])
def test_eq3_weights_are_never_negative_and_w_q_sees_every_agents_action(credit):
    mix = Factorization(generators([0, 1]), 3, 7, 4, 8, credit)
    o, a = torch.randn(2, 64, 7), torch.randint(4, (2, 64, 3))
    w_v, w_q, share = mix(o, a)
    assert w_v.shape == w_q.shape == (2, 64, 3) and share.shape == (2, 64)
    assert (w_v >= 0).all() and (w_q >= 0).all() and (w_v > 0).any() and (w_q > 0).any()
    moved = mix(o, (a + torch.tensor([0, 0, 1])) % 4)
    assert torch.equal(moved[0], w_v)  # w_v is free of the joint action
    assert torch.equal(moved[1], w_q) == (credit == "tied")  # w_q_1 depends on a_3 unless tied


@pytest.mark.parametrize(("credit", "reaches"), [("coupled", True), ("independent", False), ("tied", True)])
def test_eq3_gradient_of_w_q_reaches_f_v1_exactly_when_coupled(credit, reaches):
    """Through h_v alone when coupled; a tied w_q is w_v, and reaches f_v2 too."""
    mix = Factorization(generators([0]), 3, 7, 4, 8, credit)
    mix(torch.randn(1, 16, 7), torch.randint(4, (1, 16, 3)))[1].sum().backward()
    g = [p.grad for p in mix.f_v1.parameters()]
    assert (all(x is not None and x.abs().max() > 0 for x in g)) is reaches
    assert all((p.grad is None) == (credit != "tied") for p in mix.f_v2.parameters())


def test_without_cvf_eq2_collapses_to_linear_mixing(toy, small):
    """credit = tied: Q_tot = sum_i w_i Q_i + b to rounding, whatever V_i is."""
    nets, batch = nets_and_batch(toy, replace(small, credit="tied"))
    v, q, w_v, w_q, _, q_tot = omac.factorize(nets, batch, replace(small, credit="tied"))
    share = nets.mix.value(batch.s).v_share
    assert torch.equal(w_v, w_q)
    torch.testing.assert_close(q_tot, (w_v * q).sum(-1) + share, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.8, 0.99])
def test_eq5_minimum_is_the_expectile_found_by_bisection(tau, draw):
    x = draw(0, 5000)
    low, high = x.min(), x.max()
    for _ in range(80):  # expectile m: tau E[(x-m)+] = (1-tau) E[(m-x)+]
        m = (low + high) / 2
        low, high = (m, high) if tau * (x - m).clamp(0).mean() > (1 - tau) * (m - x).clamp(0).mean() else (low, m)
    v = torch.zeros((), dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([v], 0.01)
    for _ in range(3000):
        adam.zero_grad()
        losses.expectile_loss((x - v).view(1, -1, 1), tau).sum().backward()
        adam.step()
    assert abs(v.item() - m.item()) < 2e-3
    if tau == 0.5:
        assert abs(m.item() - x.mean().item()) < 1e-6


def test_eq5_by_hand_with_and_without_dead_agents():
    u = torch.tensor([[[1.0, -2.0]]])
    assert torch.isclose(losses.expectile_loss(u, 0.7), torch.tensor([(0.7 * 1 + 0.3 * 4) / 2]))
    assert torch.isclose(losses.expectile_loss(u, 0.7, torch.tensor([[[1.0, 0.0]]])), torch.tensor([0.7]))


@pytest.mark.parametrize("tau", [0.0, 1.0, -1, 7])
def test_eq5_refuses_a_tau_outside_its_range(tau):
    with pytest.raises(ValueError, match=f"tau is {tau}"):
        losses.expectile_loss(torch.zeros(1, 1, 1), tau)


def test_lemma2_and_theorem1_the_expectile_rises_with_tau_to_the_in_sample_maximum():
    """Over the actions in the data alone: action 2 of the toy bandit is never taken and never counts."""
    q, taken = torch.tensor([0.0, 1.0, 5.0]), torch.tensor([0] * 90 + [1] * 10)
    values = []
    for tau in (0.5, 0.7, 0.9, 0.99, 0.999):
        v = torch.zeros((), requires_grad=True)
        adam = torch.optim.Adam([v], 0.02)
        for _ in range(1500):
            adam.zero_grad()
            losses.expectile_loss((q[taken] - v).view(1, -1, 1), tau).sum().backward()
            adam.step()
        values.append(v.item())
    assert values == sorted(values) and values[-1] <= 1 + 1e-3 and values[-1] > 0.98 and abs(values[0] - 0.1) < 1e-2


@pytest.mark.slow
def test_theorem1_on_the_toy_v_tot_rises_with_tau_to_the_in_support_optimum_and_never_passes_it(toy):
    """Eqs. 9-12 for the whole learned system: random walks hold every action, so that the optimum is in their support."""
    counts = {"steps": 2000, "policy_steps": 200, "eval_every": 200}  # what is looked at is values
    hyper = Hyper(hidden=32, cca_hidden=16, gamma=0.9, polyak=0.05, **counts)
    first = toy.start[:-1] + np.arange(len(toy))
    best = optimum(toy.obs[first][:, :, : LENGTH + 1].argmax(-1), hyper.gamma)
    local, whole = [], []
    for tau in (0.5, 0.7, 0.9, 0.98):
        trained = train(toy, "omac", replace(hyper, tau=tau), [0], progress=False)
        batch = Replay(toy, hyper).at(torch.from_numpy(toy.start[:-1])[None])
        with torch.no_grad():
            v, *_, v_tot, _ = omac.factorize(trained.nets, batch, hyper)
        local.append(v.mean().item())
        whole.append(v_tot.mean().item())
        assert (v_tot[0].numpy() - best).max() < 0.5  # of at most 20: the error of regression
    assert whole == sorted(whole) and local == sorted(local)  # Lemma 2
    assert abs(whole[0] - batch.ret.mean().item()) < 1  # the mean of random walks
    assert abs(whole[-1] - best.mean()) < 0.6 < best.mean() - whole[1]


def test_eq6_on_a_hand_made_batch_with_an_end_and_a_time_limit(toy):
    r, v_next, q = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 10.0, 10.0]]), torch.tensor([[0.0, 0.0, 0.0]])
    done = torch.tensor([[0.0, 1.0, 0.0]])  # on the way, the end, and a time limit that bootstraps
    y = losses.td_target(r, done, v_next, 0.9)
    torch.testing.assert_close(y, torch.tensor([[10.0, 2.0, 12.0]]))
    torch.testing.assert_close(losses.td_loss(q, y), torch.tensor([(100 + 4 + 144) / 3]))


def test_eq6_ends_and_limits_of_the_data_are_told_apart(toy, small):
    every = torch.arange(len(toy.reward))[None]
    done = Replay(toy, small).at(every).done[0].numpy()
    np.testing.assert_array_equal(done, toy.terminated)
    done = Replay(toy, replace(small, bootstrap_at_limit=False)).at(every).done[0].numpy()
    np.testing.assert_array_equal(done, toy.terminated | toy.truncated)
    assert toy.truncated.any() and toy.terminated.any()


def test_eq6_sends_no_gradient_into_v_or_the_targets(toy, small):
    nets, batch = nets_and_batch(toy, small)
    found, _ = omac.value_loss(nets, batch, small)
    assert grads(nets, found["L_Q"]) == {"q", "mix"}


class Elsewhere(torch.nn.Module):
    """A Q_i that is 100 higher at the actions that are not `a`."""

    def __init__(self, net, a):
        super().__init__()
        self.net, self.a = net, a

    def forward(self, o):
        q = self.net(o)
        return (q + 100).scatter(-1, self.a[..., None], q.gather(-1, self.a[..., None]))


@pytest.mark.parametrize("value", ["expectile", "max"])
def test_eq5_and_eq6_ask_q_at_the_actions_of_the_data_alone(toy, small, value):
    """In-sample: what Q_i and its copy say of other actions moves no loss and no target; a maximum over all hears of it."""
    hyper = replace(small, local_value=value)
    nets, batch = nets_and_batch(toy, hyper)

    def asked():
        return {**omac.value_loss(nets, batch, hyper)[0], "target": omac.target(nets, batch, hyper)}

    before = asked()
    nets.q, nets.q_bar = Elsewhere(nets.q, batch.a), Elsewhere(nets.q_bar, batch.a)
    assert set(before) == ({"L_V", "L_Q", "target"} if value == "expectile" else {"L_Q", "target"})
    assert [torch.equal(before[k], x) for k, x in asked().items()] == [value == "expectile"] * len(before)


def test_eq12_as_printed_gives_actions_of_different_value_one_value():
    """Two last actions: for every tau, Eq. 6 is 0 at their own rewards and not at Eq. 12's, the larger one for both."""
    r, done, own = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2), torch.tensor([[0.0, 1.0]])
    for v_tot in (0.5, 0.7, 1.0):  # V_tot^tau of an observation with both, rising to the maximum
        y = losses.td_target(r, done, torch.full((1, 2), v_tot), 0.99)
        assert losses.td_loss(own, y) == 0 and losses.td_loss(own.max().expand(1, 2), y) == 0.5


def test_eq8_is_cloning_at_beta_zero_and_falls_as_good_actions_grow_likelier(toy, small):
    nets, batch = nets_and_batch(toy, small)
    cross_entropy = -log_pi(nets.pi, batch, small).mean((2, 3))
    adv = torch.randn(batch.a.shape)
    signal = {"advantage": adv, "w_q": torch.ones_like(adv)}
    assert cross_entropy.shape == (2, 1)
    torch.testing.assert_close(policy_loss(omac, nets, batch, signal, replace(small, beta=0.0)), cross_entropy[:, 0])
    torch.testing.assert_close(policy_loss(bc, nets, batch, {}, small), cross_entropy[:, 0])
    before = log_pi(nets.pi, batch, small)
    loss = policy_loss(omac, nets, batch, signal, replace(small, beta=3.0))
    loss.sum().backward()
    with torch.no_grad():
        for p in nets.pi.parameters():
            p -= 0.1 * p.grad
    gain = (log_pi(nets.pi, batch, small) - before)[:, 0] * (adv > 1)
    assert gain.sum() > 0


def test_eq8_the_policy_leaves_the_datas_as_beta_grows_for_the_best_action_in_the_data():
    """pi ~ pi_beta exp(beta A), which minimises Eq. 8 below the clip: KL to pi_beta rises from 0, and where it ends."""
    data, adv = torch.tensor([[0.4, 0.3, 0.2, 0.1, 0.0], [-1.0, -0.5, 0.5, 1.5, 4.0]], dtype=torch.float64)

    def policy(beta, clip):
        weight = losses.awr_weight(adv, beta, clip)
        assert weight[data > 0].max() < clip
        return data * weight / (data * weight).sum()

    far = [torch.xlogy(p, p / data).nansum().item() for p in (policy(beta, 100.0) for beta in (0, 0.5, 1, 2))]
    assert far[0] == pytest.approx(0, abs=1e-9) and (np.diff(far) > 0.01).all()
    torch.testing.assert_close(policy(50, np.inf), torch.eye(5, dtype=torch.float64)[3])  # never the last, the best


def test_eq7_its_optimum_is_the_policy_that_eq8_learns(draw):
    """pi* ~ pi_beta exp(beta A): Eq. 8 fits it to samples of pi_beta, and nothing as close to pi_beta has more advantage."""
    data, adv, beta = draw(0, 5).softmax(-1), draw(1, 5), 0.7
    logits = torch.zeros(1, 1, 1, 5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], 0.02)
    for _ in range(3000):  # every action as often as pi_beta takes it
        adam.zero_grad()
        log_p = logits.log_softmax(-1)[0, :, 0]
        losses.awr_loss((data * losses.awr_weight(adv, beta, 100.0))[None, None], log_p[None], None).sum().backward()
        adam.step()
    learned = logits.detach().softmax(-1).flatten()
    closed = data * (beta * adv).exp()
    torch.testing.assert_close(learned, closed / closed.sum(), rtol=1e-4, atol=1e-5)

    def kl(p):
        return (p * np.log(np.maximum(p, 1e-12) / data.numpy())).sum()

    within = {"type": "ineq", "fun": lambda p: kl(learned.numpy()) - kl(p)}
    whole = {"type": "eq", "fun": lambda p: p.sum() - 1}
    found = minimize(
        lambda p: -(p * adv.numpy()).sum(), np.full(5, 0.2), bounds=[(1e-9, 1)] * 5, constraints=[within, whole]
    )
    assert found.success and np.allclose(found.x, learned.numpy(), atol=2e-3)


def test_eq8_by_hand_and_its_weight_is_clipped():
    adv, log_p = torch.tensor([[[0.0, 1.0, 9.0]]]), torch.tensor([[[-1.0, -2.0, -3.0]]])
    weight = losses.awr_weight(adv, 2.0, 100.0)
    torch.testing.assert_close(weight, torch.tensor([[[1.0, np.e**2, 100.0]]], dtype=torch.float32))
    torch.testing.assert_close(
        losses.awr_loss(weight, log_p), torch.tensor([(1 + 2 * np.e**2 + 300) / 3], dtype=torch.float32)
    )


def test_algorithm1_line5_moves_v_line7_moves_q_and_the_weights_line11_moves_pi(toy, small):
    nets, batch = nets_and_batch(toy, small)
    found, signal = omac.value_loss(nets, batch, small)
    assert set(signal) == {"advantage", "w_q"} and not any(x.requires_grad for x in signal.values())
    assert grads(nets, found["L_V"]) == {"v"}
    found, signal = omac.value_loss(nets, batch, small)
    assert grads(nets, found["L_Q"]) == {"q", "mix"}
    assert grads(nets, policy_loss(omac, nets, batch, signal, small)) == {"pi"}


def test_algorithm1_lines_3_to_9_come_before_lines_10_to_12(toy, small):
    """By default. Each part has its own number of steps; side by side both have the values'."""
    hyper = replace(small, policy_steps=20)
    assert Hyper().schedule == "sequential"
    assert Trainer(toy, omac, hyper, [0]).phases() == [("value", 0, 40), ("policy", 40, 20)]
    assert Trainer(toy, bc, hyper, [0]).phases() == [("policy", 0, 20)]  # no values
    assert Trainer(toy, omac, replace(hyper, schedule="joint"), [0]).phases() == [("joint", 0, 40)]


@pytest.mark.parametrize("schedule", ["sequential", "joint"])
def test_algorithm1_line8_moves_every_target_towards_its_network_by_polyak(schedule, toy, small):
    hyper = replace(small, polyak=0.25, schedule=schedule)
    run = Trainer(toy, omac, hyper, [0])
    first = run.phases()[0].name
    nets = run.nets
    for online, target in omac.TARGETS:  # targets start as copies
        for k, p in getattr(nets, target).named_parameters():
            assert torch.equal(p, dict(getattr(nets, online).named_parameters())[k])
    old = {t: [p.clone() for p in getattr(nets, t).parameters()] for _, t in omac.TARGETS}
    run.step(0, first)
    assert first == ("value" if schedule == "sequential" else "joint")
    for online, target in omac.TARGETS:
        for (k, p), before in zip(getattr(nets, target).named_parameters(), old[target], strict=True):
            torch.testing.assert_close(p, 0.75 * before + 0.25 * dict(getattr(nets, online).named_parameters())[k])
            assert not p.requires_grad


def test_policies_and_log_probabilities_run_over_available_actions(toy, small):
    nets, batch = nets_and_batch(toy, small)
    p = log_probs(nets.pi, batch, small)[:, 0].exp()
    assert p[~batch.avail].max() == 0 and torch.allclose(p.sum(-1), torch.ones(p.shape[:-1]))
    p = log_probs(nets.pi, batch, replace(small, mask_actions=False))[:, 0].exp()
    assert p[~batch.avail].min() > 0


@pytest.mark.slow
def test_values_meet_the_optimum_of_the_toy():
    """Trained on data that holds the optimal walk, V_tot of a start approaches the best discounted return, and OMAC walks it."""
    from omac.envs import make
    from omac.evaluation import BatchedPolicy, battle_seeds, evaluate, rollout

    battle = make("toy:line", 100)
    about = {"policies": ["mostly right"], "level": "x", "source": "toy", "seed": 0, "versions": {}, "reward_scale": 20}
    right = BatchedPolicy(
        lambda x: torch.tensor([0.0, 0.0, 3.0]).expand(*x.shape[:3], 3), 1, battle.spec.horizon, sample=True
    )
    data = rollout(battle, right, battle_seeds(3, shape=(100, 4)), about)
    counts = {"steps": 3000, "policy_steps": 1000, "eval_every": 1000}
    hyper = Hyper(hidden=32, cca_hidden=16, gamma=0.9, polyak=0.05, **counts)
    trained = train(data, "omac", hyper, [0], progress=False)
    scores = evaluate("toy:line", trained.nets.pi, [trained.snapshots[-1]["policy"]], battle_seeds(4, shape=(1, 100)))
    assert scores.win.mean() == 1.0 and scores.returns.mean() > data.returns.mean()
    first = torch.from_numpy(data.start[:-1])[None]
    with torch.no_grad():
        v_tot = omac.factorize(trained.nets, Replay(data, hyper).at(first), hyper)[4][0].numpy()
    best = optimum(data.obs[data.start[:-1] + np.arange(len(data))][:, :, : LENGTH + 1].argmax(-1), 0.9)
    assert abs(v_tot.mean() - best.mean()) < 1.5 and np.corrcoef(v_tot, best)[0, 1] > 0.9

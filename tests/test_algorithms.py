"""The baselines and the ablations: each formula against plain loops, masks, ends, seeds, and what each one does on the toy."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from handmade import built, made, policy_loss, total

from omac.algorithms import REGISTRY, bcq, common, cql, icq, omac, omar
from omac.config.hyper import Hyper
from omac.envs import make
from omac.evaluation import BatchedPolicy, battle_seeds, evaluate, rollout
from omac.nn import losses
from omac.nn.igm import single_deviations
from omac.nn.networks import generators
from omac.nn.policy import MASKED, log_probs, take
from omac.training.replay import Replay
from omac.training.trainer import train

LEARNERS = {name: module for name, module in REGISTRY.items() if hasattr(module, "target")}


def tilted(logits, seeds=3):
    """200 battles on the toy of one policy that prefers actions by `logits` (stay, left, right)."""
    about = {"policies": ["p"], "level": "x", "source": "toy", "seed": 0, "versions": {}, "reward_scale": 20}
    battle = make("toy:line", 50)
    act = BatchedPolicy(lambda x: torch.tensor(logits).expand(*x.shape[:3], 3), 1, battle.spec.horizon, sample=True)
    return rollout(battle, act, battle_seeds(seeds, shape=(50, 4)), about)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, {}) for name in REGISTRY),
        *(("omar", change) for change in ({"search": "cem"}, {"critic": "cql"})),
        *((name, {"schedule": "joint"}) for name in ("omac", "icq")),
    ],
    ids=lambda x: x if isinstance(x, str) else "-".join(x.values()) or "default",
)
def test_every_algorithm_beats_the_random_policy_that_made_its_data(name, change, toy):
    """BC, which can only copy, gets battles that lean to the right; the others learn from uniformly random ones."""
    counts = {"steps": 250, "policy_steps": 250, "eval_every": 250, "batch_size": 64}
    hyper = Hyper(hidden=32, cca_hidden=16, polyak=0.05, gamma=0.8, lr_value=2e-3, lr_policy=2e-3, **counts, **change)
    trained = train(tilted([0.0, 0.0, 1.0]) if name == "bc" else toy, name, hyper, [0], progress=False)
    scores = evaluate("toy:line", trained.policy, [trained.snapshots[-1]["policy"]], battle_seeds(4, shape=(1, 100)))
    assert scores.returns.mean() > toy.returns.mean() + 5, scores.returns.mean()


# ---- Q_tot and the targets


@pytest.mark.parametrize("name", ["icq", "omar", "bcq", "cql"])
def test_a2_the_common_mixer_is_linear_with_weights_of_the_state_alone(name, small):
    nets, batch = built(REGISTRY[name], small), made()
    q = take(nets.q(batch.o), batch.a)
    w, b, _ = nets.mix.value(batch.s)
    got = common.mixed(nets.mix, batch.s, q)
    for row in range(batch.r.shape[1]):
        torch.testing.assert_close(got[0, row], sum(w[0, row, i] * q[0, row, i] for i in range(2)) + b[0, row])
    assert nets.mix.credit == "tied" and (w >= 0).all() and not hasattr(nets.mix, "f_q1")


@pytest.mark.parametrize("bootstrap", ["target", "online"])
@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_each_target_on_an_end_a_time_limit_and_on_the_way(name, bootstrap, small):
    """An end pays its reward alone; a time limit goes on from the kept final observation; the next state moves y, o does not."""
    module, hyper = LEARNERS[name], replace(small, bootstrap=bootstrap)
    nets, batch = built(module, hyper), made()
    y = module.target(nets, batch, hyper)
    assert not y.requires_grad and y.shape == batch.r.shape
    assert y[0, 0] == batch.r[0, 0]
    moved = module.target(nets, batch._replace(o_next=batch.o_next + 1, s_next=batch.s_next + 1), hyper)
    assert moved[0, 0] == y[0, 0] and (moved[0, 2:] != y[0, 2:]).all()
    assert (moved[0, 1] != y[0, 1]) == (name != "icq")  # SARSA has no next action there: see the next tests
    assert torch.equal(module.target(nets, batch._replace(o=batch.o + 1, s=batch.s + 1), hyper), y)


def test_icq_leaves_out_what_a_time_limit_cuts_off_and_nothing_else(small):
    nets, batch = built(icq, small), made()

    def l_q(**changed):
        return icq.value_loss(nets, batch._replace(**changed), small)[0]["L_Q"].item()

    bump = torch.zeros_like(batch.r)
    for row in range(6):
        bump.zero_()[0, row] = 1
        assert (l_q(r=batch.r + bump) == l_q()) == (row == 1)
    limit_is_end = batch.done.clone()
    limit_is_end[0, 1] = 1  # bootstrap_at_limit off
    assert l_q(done=limit_is_end) != l_q()


def test_the_replay_knows_the_next_action_and_what_is_available_then(toy, small):
    t = torch.arange(len(toy.reward))[None]
    batch, row = Replay(toy, small).at(t), toy.rows()[1]
    last = torch.from_numpy(toy.terminated | toy.truncated)
    assert torch.equal(batch.follows[0] == 0, last) and last.any()
    assert torch.equal(batch.avail_next[0], torch.from_numpy(toy.avail[row + 1]))
    inside = (~last).nonzero()[:, 0]
    assert torch.equal(batch.a_next[0, inside], torch.from_numpy(toy.action[inside.numpy() + 1]).long())
    assert batch.avail_next.gather(-1, batch.a_next[..., None])[0, inside].all()


@pytest.mark.parametrize("at_limit", [True, False])
@pytest.mark.parametrize("reward", ["step", "return_to_go"])
@pytest.mark.parametrize("inputs", ["state", "joint_obs"])
def test_a_batch_is_what_the_data_hold_at_its_steps_and_one_view_later(at_limit, reward, inputs, toy, small):
    """Each field in a plain loop over episodes: a view that is one row off trains without a word."""
    hyper = replace(small, bootstrap_at_limit=at_limit, reward=reward, global_input=inputs)
    every = Replay(toy, hyper).at(torch.arange(len(toy.reward))[None])
    for e in (0, 1, 150, 299):
        first, end = toy.start[e : e + 2]
        paid = toy.reward[first:end].astype(float)
        paid = np.cumsum(paid[::-1])[::-1] if reward == "return_to_go" else paid
        for t in range(first, end):
            view, is_last, found = (
                t + e,
                t == end - 1,
                {k: x[0, t] for k, x in every._asdict().items() if k not in ("o", "o_next", "key")},
            )
            whole = toy.state if inputs == "state" else toy.obs.reshape(len(toy.obs), -1)
            can = toy.avail[view]
            wanted = {
                "s": whole[view],
                "s_next": whole[view + 1],
                "a": toy.action[t],
                "avail": can,
                "alive": can.sum(-1) > 1,
            }
            wanted |= {"avail_next": toy.avail[view + 1], "follows": not is_last, "r": paid[t - first]}
            wanted |= {"done": is_last and bool(toy.terminated[t] or not at_limit)}
            wanted |= {"ret": sum(hyper.gamma**k * x for k, x in enumerate(paid[t - first :]))}
            if not is_last:
                wanted["a_next"] = toy.action[t + 1]
            for name, value in wanted.items():
                np.testing.assert_allclose(
                    found[name].numpy(), value, rtol=1e-5, atol=1e-5, err_msg=f"{name} of step {t}"
                )
    assert toy.truncated.any() and toy.terminated.any()


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_no_gradient_reaches_a_target_and_the_td_error_moves_the_critic_alone(name, small):
    module = LEARNERS[name]
    nets, batch = built(module, small), made()
    for loss, reaches in (("L_Q", {"q", "mix"}), ("L_CQL", {"q"}), ("L_G", {"g"}), ("L_V", {"v"}), ("L_pi", {"pi"})):
        found = total(module, nets, batch, small)
        if loss in found:
            nets.zero_grad()
            found[loss].sum().backward()
            got = {k.split(".")[0] for k, p in nets.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
            twins = {f"{x}_twin" for x in reaches} & {k for k, _ in nets.named_children()}
            assert got == reaches | twins and bool(twins) == (name == "omar" and loss != "L_pi"), loss


# ---- masks and seeds


@pytest.mark.parametrize("search", ["argmax", "cem"])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_actions_that_are_not_available_never_count(name, search, small):
    """A value of 1000 at an action that is never available changes no loss; without `mask_actions` it does."""
    module, hyper = (
        REGISTRY[name],
        replace(small, logit_penalty=0.0, search=search, local_value="max" if search == "cem" else "expectile"),
    )
    batch = made(B=40)
    shut = torch.arange(4) != 3
    first = torch.zeros_like(batch.a)
    opened = torch.arange(4) == 0
    batch = batch._replace(
        a=batch.a.where(batch.a != 3, first),
        a_next=batch.a_next.where(batch.a_next != 3, first),
        avail=(batch.avail | opened) & shut,
        avail_next=(batch.avail_next | opened) & shut,
    )

    def spoiled(by, hyper):
        nets = built(module, hyper)
        spoilt = {"q", "q_bar", "q_twin", "q_twin_bar", "pi", "pi_bar", "g"}
        for part in spoilt & {k for k, _ in nets.named_children()}:
            getattr(nets, part).rest.layers[-1].bias.data[..., 3] += by
        act = module.logits(nets)
        with torch.no_grad():
            score = act(batch.o, batch.avail) if getattr(act, "needs_avail", False) else act(batch.o)
        return total(module, nets, batch, hyper), score.masked_fill(~batch.avail, MASKED).argmax(-1)

    (clean, acts), (found, again) = spoiled(0, hyper), spoiled(1000.0, hyper)
    for loss, x in clean.items():
        torch.testing.assert_close(found[loss], x)
    assert torch.equal(acts, again) and (again != 3).all()
    off = replace(hyper, mask_actions=False)
    assert any(not torch.allclose(spoiled(1000.0, off)[0][k], x) for k, x in spoiled(0, off)[0].items())


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_mask_dead_leaves_agents_without_a_choice_out_of_the_losses_over_agents(name, small):
    """Agent 1 has a single action throughout. What it observes moves V_i, G's logits and OMAR's actor unless it is masked;
    elsewhere it has no gradient to begin with, but counts in the mean (of CQL's sum it is no part either way).
    """
    module, hyper = REGISTRY[name], replace(small, mask_dead=True)
    nets, batch = built(module, hyper), made(B=20)
    alive = (torch.arange(2) == 0).expand(batch.a.shape)
    only = (torch.arange(4) == 0).expand(batch.avail.shape)
    avail = batch.avail.where(alive[..., None], only)
    batch = batch._replace(avail=avail, a=batch.a.where(alive, 0), alive=alive.float())
    spoiled = batch._replace(o=batch.o + 3 * (~alive[..., None]))

    def over_agents(batch, hyper):
        found = total(module, nets, batch, hyper)
        return torch.stack([x for k, x in found.items() if k != "L_Q"])

    masked = over_agents(batch, hyper)
    torch.testing.assert_close(over_agents(spoiled, hyper), masked)
    assert torch.allclose(over_agents(spoiled, small), over_agents(batch, small)) == (
        name not in ("omac", "bcq", "omar")
    )
    assert torch.allclose(over_agents(batch, small), masked) == (name == "cql")


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_nan_in_one_seed_leaves_the_other_seeds_losses_as_they_are(name, small):
    module = REGISTRY[name]
    nets, batch = built(module, small, seeds=(0, 1)), made(K=2)
    clean = total(module, nets, batch, small)
    for p in nets.parameters():
        p.data[0] = math.nan
    found = total(module, nets, batch, small)
    for loss, x in clean.items():
        assert found[loss].shape == (2,) and found[loss][0].isnan() and found[loss][1] == x[1], loss


# ---- CQL


def test_cql_of_one_agent_equals_discrete_cql_in_plain_loops(small):
    """With w = 1 and b = 0: mean (y - Q(s,a))^2 + alpha mean (log sum_a exp Q(s,a) - Q(s,a)), double-Q target."""
    hyper = replace(small, alpha=0.7)
    nets, batch = built(cql, hyper, n=1), made(n=1)
    plain(nets)
    found, _ = cql.value_loss(nets, batch, hyper)
    q, q_next, q_bar = nets.q(batch.o)[0, :, 0], nets.q(batch.o_next)[0, :, 0], nets.q_bar(batch.o_next)[0, :, 0]
    td = gap = 0
    for t in range(6):
        can, can_next = ([a for a in range(4) if m[0, t, 0, a]] for m in (batch.avail, batch.avail_next))
        best = max(can_next, key=lambda a: q_next[t, a].item())
        y = batch.r[0, t] + 0.99 * (1 - batch.done[0, t]) * q_bar[t, best]
        data = q[t, batch.a[0, t, 0]]
        td += (y - data) ** 2 / 6
        gap += (sum(q[t, a].exp() for a in can).log() - data) / 6
    torch.testing.assert_close(found["L_Q"][0], td)
    torch.testing.assert_close(found["L_CQL"][0], 0.7 * gap)


def test_cql_penalty_by_hand_is_a_sum_over_the_agents_that_count_and_a_mean_over_the_batch():
    q = torch.tensor([[[[0.0, 0.0], [1.0, MASKED]], [[0.0, math.log(3)], [2.0, 2.0]]]])
    data = torch.tensor([[[0.0, 1.0], [0.0, 2.0]]])
    torch.testing.assert_close(losses.cql_penalty(q, data), torch.tensor([(2 * math.log(2) + math.log(4)) / 2]))
    mask = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(losses.cql_penalty(q, data, mask), torch.tensor([math.log(4) / 2]))


def plain(nets):
    """Make the mixers of single-agent networks the identity: w = 1, b = 0."""
    for mix in (nets.mix, nets.mix_bar):
        for layer, bias in ((mix.f_v2, 1.0), (mix.share.layers[-1], 0.0)):
            layer.weight.data.zero_()
            layer.bias.data.fill_(bias)


@pytest.mark.slow
def test_cql_lowers_the_values_of_actions_that_the_data_never_take():
    """Battles without a step to the left, alpha 0 against the default: how far Q_i(left) lies above the Q_i of the data."""
    data, above = tilted([0.0, -1e9, 0.0]), {}
    counts = {"steps": 150, "policy_steps": 150, "eval_every": 150, "batch_size": 64}
    hyper = Hyper(hidden=16, cca_hidden=8, polyak=0.05, gamma=0.8, lr_value=2e-3, **counts)
    assert not (data.action == 1).any()
    for alpha in (0.0, 1.0):
        nets = train(data, "cql", replace(hyper, alpha=alpha), [0], progress=False).nets
        batch = Replay(data, hyper).at(torch.arange(len(data.reward))[None])
        can = batch.avail[..., 1]
        with torch.no_grad():
            q = nets.q(batch.o)
        above[alpha] = (q[..., 1] - take(q, batch.a))[can].mean().item()
    assert above[1.0] < above[0.0] - 0.5 and above[1.0] < -0.5, above


# ---- BCQ


def test_bcq_of_one_agent_equals_discrete_bcq_in_plain_loops(small):
    """With w = 1 and b = 0: the squared error to the target network at the filtered online argmax, and G's two terms."""
    nets, batch = built(bcq, small, n=1), made(n=1)
    plain(nets)
    for p in nets.g.rest.layers[-1].parameters():
        p.data.mul_(8)  # a G that tells actions apart, so that the filter bites
    found, _ = bcq.value_loss(nets, batch, small)
    q, q_next, q_bar = nets.q(batch.o)[0, :, 0], nets.q(batch.o_next)[0, :, 0], nets.q_bar(batch.o_next)[0, :, 0]
    g, g_next = nets.g(batch.o)[0, :, 0], nets.g(batch.o_next)[0, :, 0]
    td = imitation = dropped = 0
    for t in range(6):
        can, can_next = ([a for a in range(4) if m[0, t, 0, a]] for m in (batch.avail, batch.avail_next))
        z = sum(g_next[t, a].exp() for a in can_next)
        p = {a: g_next[t, a].exp() / z for a in can_next}
        kept = [a for a in can_next if p[a] / max(p.values()) > 0.3]
        dropped += len(can_next) - len(kept)
        best = max(kept, key=lambda a: q_next[t, a].item())
        y = batch.r[0, t] + 0.99 * (1 - batch.done[0, t]) * q_bar[t, best]
        td += (y - q[t, batch.a[0, t, 0]]) ** 2 / 6
        log_g = g[t, batch.a[0, t, 0]] - sum(g[t, a].exp() for a in can).log()
        imitation += (-log_g + 0.01 * sum(g[t, a] ** 2 for a in range(4)) / 4) / 6
    assert dropped > 0
    torch.testing.assert_close(found["L_Q"][0], td)
    torch.testing.assert_close(found["L_G"][0], imitation)


def test_bcq_at_threshold_0_is_plain_q_learning_in_target_and_action(small):
    hyper = replace(small, threshold=0.0)
    nets, batch = built(bcq, hyper, seeds=(0, 1)), made(B=50, K=2)
    nets.g.rest.layers[-1].bias.data[..., 1] -= 500  # an action whose G is 0 in floating point is still allowed
    assert torch.equal(bcq.target(nets, batch, hyper), cql.target(nets, batch, hyper))
    greedy = nets.q(batch.o).masked_fill(~batch.avail, MASKED).argmax(-1)
    assert torch.equal(bcq.logits(nets)(batch.o, batch.avail).argmax(-1), greedy)


def test_bcq_towards_threshold_1_acts_and_values_as_the_behaviour_model_does(small):
    hyper = replace(small, threshold=1 - 1e-7)
    nets, batch = built(bcq, hyper), made(B=50)
    likeliest = nets.g(batch.o).masked_fill(~batch.avail, MASKED).argmax(-1)
    assert torch.equal(bcq.logits(nets)(batch.o, batch.avail).argmax(-1), likeliest)
    assert not torch.equal(nets.q(batch.o).masked_fill(~batch.avail, MASKED).argmax(-1), likeliest)
    a_next = nets.g(batch.o_next).masked_fill(~batch.avail_next, MASKED).argmax(-1)
    y = batch.r + 0.99 * (1 - batch.done) * common.next_q_tot(nets, batch, a_next, hyper)
    torch.testing.assert_close(bcq.target(nets, batch, hyper), y)


def test_bcq_compares_with_the_likeliest_available_action_and_its_stack_passes_that_on(small):
    """The likeliest action of all may not be available: in battle too, the filter is over what is."""
    log_g = torch.tensor([1.0, 0.5, 0.2]).log()
    every, no_first = torch.tensor([True, True, True]), torch.tensor([False, True, True])
    assert losses.bcq_filter(log_g, every, 0.3).tolist() == [True, True, False]
    assert losses.bcq_filter(log_g, no_first, 0.3).tolist() == [False, True, True]
    nets = built(bcq, small, A=3)
    for net, values in ((nets.q, [0.0, 1.0, 2.0]), (nets.g, log_g)):
        net.rest.layers[-1].weight.data.zero_()
        net.rest.layers[-1].bias.data.copy_(torch.as_tensor(values))
    act = BatchedPolicy.of(bcq.logits(nets), [bcq.logits(nets).state_dict()], 10)
    got = act(torch.zeros(2, 2, 5).numpy(), torch.stack([every, no_first]).expand(2, 2, 3).numpy(), None, None)
    assert got.tolist() == [[1, 2], [1, 2]]


# ---- ICQ


def test_icq_with_equal_weights_is_sarsa_in_plain_loops(small):
    hyper = replace(small, alpha_value=1e12)
    nets, batch = built(icq, hyper), made()
    q, q_bar = nets.q(batch.o), nets.q_bar(batch.o_next)
    (w, b, _), (w_bar, b_bar, _) = nets.mix.value(batch.s), nets.mix_bar.value(batch.s_next)
    found, rows = 0, 0
    for t in (0, 2, 3, 4, 5):  # row 1 ends at a time limit, without a next action
        now = sum(w[0, t, i] * q[0, t, i, batch.a[0, t, i]] for i in range(2)) + b[0, t]
        after = sum(w_bar[0, t, i] * q_bar[0, t, i, batch.a_next[0, t, i]] for i in range(2)) + b_bar[0, t]
        found, rows = found + (batch.r[0, t] + 0.99 * (1 - batch.done[0, t]) * after - now) ** 2, rows + 1
    torch.testing.assert_close(icq.value_loss(nets, batch, hyper)[0]["L_Q"][0], found / rows)
    sharp = icq.value_loss(nets, batch, replace(hyper, alpha_value=0.05))[0]["L_Q"][0]
    assert not torch.isclose(sharp, found / rows)


def test_icq_weights_are_a_softmax_over_the_batch_of_each_seed_and_agent():
    x = torch.tensor([[[0.0, 5.0], [1.0, 5.0], [9.0, 5.0]]])
    mask = torch.tensor([[[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]])
    got = losses.icq_weight(x, 0.5, mask)
    e = math.e**2
    torch.testing.assert_close(got[0, :, 0], torch.tensor([2 / (1 + e), 2 * e / (1 + e), 0.0]))
    torch.testing.assert_close(got[0, :, 1], torch.ones(3))
    torch.testing.assert_close(losses.icq_weight(x, 0.5).mean(1), torch.ones(1, 2))
    assert (losses.icq_weight(x, 0.5, 0 * mask) == 0).all()


def icq_losses_by_hand(nets, batch, w, temperatures):
    """ICQ's policy loss of each policy of the one seed, in plain loops; w [B,n]: what each agent's share is multiplied by."""
    q, p = nets.q(batch.o), log_probs(nets.pi, batch, Hyper())
    found = []
    for j, temperature in enumerate(temperatures):
        want = 0
        for i in range(2):
            adv = [(q[0, t, i, batch.a[0, t, i]] - sum(p[0, j, t, i].exp() * q[0, t, i])).item() for t in range(6)]
            z = sum(math.exp(x / temperature) for x in adv)
            for t in range(6):
                want -= w[t][i] * 6 * math.exp(adv[t] / temperature) / z * p[0, j, t, i, batch.a[0, t, i]] / 12
        found.append(want)
    return torch.stack(found)


def test_icq_policy_loss_in_plain_loops(small):
    """Of three policies with temperatures of their own, on one set of values."""
    nets, batch, temperatures = built(icq, small, policies=3), made(), (0.1, 0.03, 1.0)
    for i, p in enumerate(nets.pi.parameters()):  # policies that differ
        p.data += torch.randn(p.shape, generator=torch.Generator().manual_seed(i)) / 10
    want = icq_losses_by_hand(nets, batch, nets.mix.value(batch.s).w_v[0].tolist(), temperatures)
    signal = icq.value_loss(nets, batch, small)[1]
    assert not any(x.requires_grad for x in signal.values())
    found = icq.policy_loss(nets, batch, signal, [replace(small, beta_policy=x) for x in temperatures])
    torch.testing.assert_close(found[0], want)
    assert (found.diff().abs() > 0.01).all()


@pytest.mark.parametrize("credit", ["raw", "sum_one", "none"])
def test_icqs_policy_credit_is_w_its_share_of_the_sum_or_nothing(credit, small):
    nets, batch = built(icq, small), made()
    w = nets.mix.value(batch.s).w_v[0].tolist()
    shares = {
        "raw": w,
        "sum_one": [[x / sum(agents) for x in agents] for agents in w],
        "none": [[1.0 for _ in agents] for agents in w],
    }
    want = icq_losses_by_hand(nets, batch, shares[credit], [small.beta_policy])
    signal = icq.signal(nets, batch, small)
    found = icq.policy_loss(nets, batch, signal, (replace(small, policy_credit=credit),))
    torch.testing.assert_close(found[0], want)
    others = [icq.policy_loss(nets, batch, signal, (replace(small, policy_credit=x),)) for x in shares if x != credit]
    assert not any(torch.isclose(found, x) for x in others)


# ---- OMAR


def test_omars_search_draws_available_actions_alone_and_tends_to_the_argmax():
    q = torch.randn(2, 300, 3, 9, generator=torch.Generator().manual_seed(0)) * 2
    avail = torch.rand(q.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    avail[..., 0] |= ~avail.any(-1)
    q = q.masked_fill(~avail, MASKED)
    hit = {}
    for samples in (1, 10, 300):
        a = omar.cem(q, (5, 6), samples, 3)
        assert take(avail, a).all()
        hit[samples] = (a == q.argmax(-1)).float().mean().item()
    assert hit[1] < 0.8 < hit[10] < hit[300] == 1.0
    assert torch.equal(omar.cem(q, (5, 6), 2, 1)[1:], omar.cem(q[1:], (6,), 2, 1))  # each seed has its own draws
    assert not torch.equal(omar.cem(q, (5, 6), 2, 1), omar.cem(q, (7, 8), 2, 1))


def test_omars_actor_loss_equals_plain_loops(small):
    nets, batch = built(omar, small), made()
    signal = omar.value_loss(nets, batch, small)[1]
    q = signal["q"]
    assert torch.equal(q, nets.q(batch.o)) and not q.requires_grad
    p = log_probs(nets.pi, batch, small)[:, 0]
    for c in (0.0, 0.5, 1.0):
        want = 0
        for t, i in itertools.product(range(6), range(2)):
            can = [a for a in range(4) if batch.avail[0, t, i, a]]
            best = max(can, key=lambda a: q[0, t, i, a].item())
            want -= (1 - c) * sum(p[0, t, i, a].exp() * q[0, t, i, a] for a in can) / 12 + c * p[0, t, i, best] / 12
        found = policy_loss(omar, nets, batch, signal, replace(small, search_weight=c))
        torch.testing.assert_close(found[0], want)


@pytest.mark.parametrize("bootstrap", ["target", "online"])
def test_omars_twin_critics_equal_plain_loops(bootstrap, small):
    """y takes the target policy's greedy available action and the smaller Q_tot; both critics have CQL's two losses."""
    hyper = replace(small, alpha=0.7, bootstrap=bootstrap)
    nets, batch = built(omar, hyper), made(B=40)
    bar = "_bar" if bootstrap == "target" else ""
    critics = ("", "_twin")
    with torch.no_grad():  # as high as one another on average, so that the minimum is now of one, now of the other
        means = [
            common.mixed(
                getattr(nets, f"mix{x}{bar}"), batch.s_next, getattr(nets, f"q{x}{bar}")(batch.o_next).mean(-1)
            )
            for x in critics
        ]
        getattr(nets, f"mix_twin{bar}").share.layers[-1].bias += (means[0] - means[1]).mean()
    pi = getattr(nets, f"pi{bar}")(batch.o_next)[0]
    after = [getattr(nets, f"q{x}{bar}")(batch.o_next)[0] for x in critics]
    mixed_after = [getattr(nets, f"mix{x}{bar}").value(batch.s_next) for x in critics]
    now = [getattr(nets, f"q{x}")(batch.o)[0] for x in critics]
    mixed_now = [getattr(nets, f"mix{x}").value(batch.s) for x in critics]
    td, gap, smaller, targets = 0, 0, set(), []
    for t in range(40):
        can = [[a for a in range(4) if batch.avail_next[0, t, i, a]] for i in range(2)]
        best = [max(can[i], key=lambda a, i=i: pi[t, i, a].item()) for i in range(2)]
        q_tot = [
            sum(w[0, t, i] * q[t, i, best[i]] for i in range(2)) + b[0, t]
            for q, (w, b, _) in zip(after, mixed_after, strict=True)
        ]
        smaller.add(q_tot[0].item() < q_tot[1].item())
        targets.append(batch.r[0, t] + 0.99 * (1 - batch.done[0, t]) * min(q_tot))
        for q, (w, b, _) in zip(now, mixed_now, strict=True):
            data = [q[t, i, batch.a[0, t, i]] for i in range(2)]
            td += (targets[-1].detach() - sum(w[0, t, i] * data[i] for i in range(2)) - b[0, t]) ** 2 / 40
            for i in range(2):
                gap += (sum(q[t, i, a].exp() for a in range(4) if batch.avail[0, t, i, a]).log() - data[i]) / 40
    assert smaller == {True, False}  # each critic is the smaller one somewhere
    torch.testing.assert_close(omar.target(nets, batch, hyper)[0], torch.stack(targets).detach())
    found, _ = omar.value_loss(nets, batch, hyper)
    torch.testing.assert_close(found["L_Q"][0], td)
    torch.testing.assert_close(found["L_CQL"][0], 0.7 * gap)


def test_omar_on_cqls_critic_has_cqls_losses_and_targets_and_no_twin(small):
    hyper, batch = replace(small, critic="cql"), made()
    nets = built(omar, hyper)
    (found, signal), (cqls, _) = omar.value_loss(nets, batch, hyper), cql.value_loss(nets, batch, hyper)
    assert set(found) == set(cqls) and all(torch.equal(found[name], cqls[name]) for name in cqls)
    assert torch.equal(omar.target(nets, batch, hyper), cql.target(nets, batch, hyper))
    assert torch.equal(signal["q"], nets.q(batch.o))
    there = {k.split(".")[0] for k, _ in nets.named_parameters()}
    assert there == {"q", "mix", "q_bar", "mix_bar", "pi"}


def test_omars_twin_critics_begin_apart_and_their_targets_start_as_copies_each_its_own(toy, small):
    nets = omar.build(toy.spec, small, generators([0]))
    assert not torch.equal(nets.q.first.weight, nets.q_twin.first.weight)
    for online, target in omar.TARGETS:
        pairs = zip(getattr(nets, online).parameters(), getattr(nets, target).parameters(), strict=True)
        assert all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["twin", "cql"])
def test_omars_values_change_with_its_policy_where_they_ask_it_and_cqls_do_not(critic, toy, small):
    """Two runs that differ in the policy's learning rate alone."""
    hyper = replace(small, critic=critic, polyak=0.5, lr_value=2e-3)
    slow, fast = (train(toy, "omar", replace(hyper, lr_policy=x), [0], progress=False) for x in (1e-4, 1e-2))
    for name in ("q", "mix", "q_bar", "mix_bar"):
        pairs = zip(getattr(slow.nets, name).parameters(), getattr(fast.nets, name).parameters(), strict=True)
        assert all(torch.equal(x, y) for x, y in pairs) == (critic == "cql"), name


# ---- ablations and Eq. (1)


def tables(nets, batch, hyper):
    """Q_tot [B, A^n] over all joint actions, which of them are available, V_tot [B], and the place of the greedy tuple [B]."""
    joint = list(itertools.product(range(batch.avail.shape[-1]), repeat=batch.a.shape[-1]))
    q_tot, can = [], []
    for a in joint:
        a = torch.tensor(a).expand(batch.a.shape)
        *_, v_tot, found = omac.factorize(nets, batch._replace(a=a), hyper)
        q_tot.append(found[0])
        can.append(take(batch.avail, a).all(-1)[0])
    greedy = nets.q(batch.o).masked_fill(~batch.avail, MASKED).argmax(-1)[0].tolist()
    return torch.stack(q_tot, -1), torch.stack(can, -1), v_tot[0], torch.tensor([joint.index(tuple(a)) for a in greedy])


def loud(hyper, seed=0):
    """OMAC's networks with weights that differ much between joint actions."""
    nets = built(omac, hyper, A=3, seeds=(seed,))
    if hyper.credit != "tied":
        for layer in nets.mix.f_q1.layers:
            layer.weight.data.mul_(4)
    return nets


@torch.no_grad()
def test_cvf_maxq_satisfies_property_1_exactly(small):
    """V_i := max Q_i: over all available joint actions the greedy tuple is best and its Q_tot is V_tot."""
    hyper, batch = replace(small, local_value="max"), made(A=3, B=200)
    nets = loud(hyper)
    q_tot, can, v_tot, greedy = tables(nets, batch, hyper)
    q_tot = q_tot.masked_fill(~can, -math.inf)
    assert torch.equal(q_tot.max(-1).values, v_tot) and torch.equal(q_tot[torch.arange(200), greedy], v_tot)
    got = omac.examine(nets, batch, hyper)
    assert got["igm_violation"].item() == 0 and got["igm_excess"].item() == 0
    q_tot, can, v_tot, greedy = tables(loud(small), batch, small)  # an expectile network instead: neither holds
    assert (q_tot.masked_fill(~can, -math.inf).max(-1).values > v_tot).any()


def test_cvf_maxq_has_no_v_network_no_eq5_and_an_advantage_that_is_never_positive(small):
    for which in ("target", "online"):
        hyper = replace(small, local_value="max", advantage=which)
        nets, batch = built(omac, hyper), made()
        found, signal = omac.value_loss(nets, batch, hyper)
        adv = signal["advantage"]
        q = (nets.q_bar if which == "target" else nets.q)(batch.o)
        want = take(q, batch.a) - q.masked_fill(~batch.avail, MASKED).max(-1).values
        assert set(found) == {"L_Q"} and not list(nets.v.parameters()) and not adv.requires_grad
        assert torch.equal(adv, want) and (adv <= 0).all() and (adv < 0).any()
    w, share, _ = nets.mix_bar.value(batch.s_next)
    best = nets.q_bar(batch.o_next).masked_fill(~batch.avail_next, MASKED).max(-1).values
    want = batch.r + 0.99 * (1 - batch.done) * ((w * best).sum(-1) + share)
    torch.testing.assert_close(omac.target(nets, batch, hyper), want)


@torch.no_grad()
@pytest.mark.parametrize("credit", ["coupled", "independent", "tied"])
def test_igm_violations_are_a_lower_bound_from_single_deviations_and_none_when_tied(credit, small):
    """Against full enumeration over the joint actions of two agents."""
    hyper, batch = replace(small, credit=credit), made(A=3, B=400)
    nets = loud(hyper)
    got = omac.examine(nets, batch, hyper)
    q_tot, can, _, greedy = tables(nets, batch, hyper)
    top = q_tot[torch.arange(400), greedy]
    one_apart = torch.zeros_like(can)
    for t in range(400):
        i, j = divmod(greedy[t].item(), 3)
        one_apart[t] = torch.tensor([(a == i) != (b == j) for a, b in itertools.product(range(3), repeat=2)])
    single = (q_tot.masked_fill(~(can & one_apart), -math.inf).max(-1).values - top).clamp(min=0)
    full = (q_tot.masked_fill(~can, -math.inf).max(-1).values > top).float().mean()
    torch.testing.assert_close(got["igm_excess"][0], single.mean(), rtol=1e-3, atol=1e-6)
    assert abs(got["igm_violation"][0] - (single > 0).float().mean()) <= 1 / 400
    if credit == "tied":
        assert got["igm_violation"][0] == 0 and got["igm_excess"][0] == 0
    else:
        assert 0.02 < got["igm_violation"][0] <= full + 1 / 400


def test_igm_by_single_deviations_misses_what_needs_two_agents():
    """A game whose best joint action differs from the greedy one in both agents, each step alone being worse."""
    pay = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    q = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    avail = torch.ones_like(q, dtype=torch.bool)
    assert single_deviations(q, avail, lambda a: pay[a[..., 0], a[..., 1]])["igm_violation"].item() == 0
    pay[0, 1] = 2.5
    got = single_deviations(q, avail, lambda a: pay[a[..., 0], a[..., 1]])
    assert got["igm_violation"].item() == 1 and got["igm_excess"].item() == 0.5
    avail[..., 1, 1] = False  # and not where the deviation is not available
    assert single_deviations(q, avail, lambda a: pay[a[..., 0], a[..., 1]])["igm_violation"].item() == 0


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["joint", "sequential"])
def test_igm_is_in_the_rows_of_the_last_snapshot_of_the_values_alone(schedule, toy, small):
    log = train(toy, "omac", replace(small, schedule=schedule), [0, 1], progress=False).log
    of_values = [row for row in log if row["phase"] != "policy"]
    assert ["igm_violation" in row for row in of_values] == [False] * (len(of_values) - 2) + [True, True]
    assert not any("igm_violation" in row for row in log if row["phase"] == "policy")
    assert all(0 <= row["igm_violation"] <= 1 and row["igm_excess"] >= 0 for row in of_values[-2:])

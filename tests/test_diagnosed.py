"""What is logged of values and policies equals plain loops: numbers that no loss reads, so that no training would tell."""

from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from handmade import built, made, scaled

from omac.algorithms import REGISTRY, bcq, common, icq, omac
from omac.nn.factorization import Factorization
from omac.nn.networks import generators
from omac.nn.policy import MASKED, policy_diagnostics, take, weight_diagnostics
from omac.nn.rows import PackedObservations, for_each
from omac.training.diagnostics import summarise

LEARNERS = sorted(name for name, module in REGISTRY.items() if hasattr(module, "target"))


@pytest.mark.parametrize("name", LEARNERS)
def test_the_logged_td_error_is_the_distance_of_q_tot_from_its_target(name, small):
    module, batch = REGISTRY[name], made()
    nets = built(module, small)
    found, y = module.diagnose(nets, batch, small), module.target(nets, batch, small)
    if name == "omac":
        w_v, w_q, b = nets.mix(batch.s, batch.a)
        v = omac.local_value(nets.v, nets.q(batch.o), batch.o, batch.avail, small)
        q_tot = (w_v * v).sum(-1) + b + (w_q * (take(nets.q(batch.o), batch.a) - v)).sum(-1)
    else:
        q_tot = common.mixed(nets.mix, batch.s, take(nets.q(batch.o), batch.a))
    counts = icq.known(batch)[0].bool() if name == "icq" else torch.ones(len(y[0]), dtype=bool)
    torch.testing.assert_close(found["q_tot"], q_tot)
    torch.testing.assert_close(found["td_error"][0], (y - q_tot)[0][counts].abs().mean())
    assert (found["w_v"] > 0).all() and (counts.all() or name == "icq")


def test_the_logged_scales_of_omac_are_means_and_standard_deviations(small):
    nets, batch = built(omac, small), made()
    found = omac.diagnose(nets, batch, small)
    w_v, w_q, _ = nets.mix(batch.s, batch.a)
    q_bar, v = nets.q_bar(batch.o), omac.local_value(nets.v, nets.q(batch.o), batch.o, batch.avail, small)
    adv = (take(q_bar, batch.a) - v).flatten()
    wanted = {"w_v": w_v.mean(), "w_q": w_q.mean(), "adv_std": adv.std()}
    for name, value in wanted.items():
        torch.testing.assert_close(found[name][0], value, msg=name)


@pytest.mark.parametrize("name", sorted(name for name in REGISTRY if hasattr(REGISTRY[name], "diagnose_policy")))
def test_what_is_logged_of_a_policy_is_of_the_network_that_acts(name, small):
    module, batch = REGISTRY[name], made()
    nets = built(module, small)
    signal = scaled(module, module.value_loss(nets, batch, small)[1], small)
    found = module.diagnose_policy(nets, batch, signal, (small,))
    if name != "bcq":  # which acts by its values
        wanted = policy_diagnostics(nets.pi, batch, small) if hasattr(nets, "pi") else {}
        for key, value in wanted.items():
            torch.testing.assert_close(found[key], value, msg=key)
    assert all(value.shape == (1, 1) and value.isfinite().all() for value in found.values())


def test_omacs_advantage_is_scaled_by_its_spread_or_by_w_q_and_the_clipped_are_counted(small):
    nets, batch = built(omac, small), made()
    signal = omac.value_loss(nets, batch, small)[1]
    hypers = [replace(small, advantage_scale=x, beta=3.0, max_weight=1.1) for x in ("none", "std", "w_q")]
    a = signal["advantage"]
    wanted = [a, a / a.std(), a * signal["w_q"]]
    of_each = omac.scale(signal, hypers)
    torch.testing.assert_close(of_each["advantage"], torch.stack(wanted, -1))
    clipped = omac.diagnose_policy(built(omac, small, policies=3), batch, of_each, hypers)["weight_clipped"]
    torch.testing.assert_close(clipped[0], torch.stack([((3 * x).exp() >= 1.1).float().mean() for x in wanted]))


def test_the_share_that_bcqs_filter_leaves_is_counted_over_available_actions(small):
    nets, batch = built(bcq, small), made()
    left = (bcq.logits(nets)(batch.o, batch.avail) > MASKED) & batch.avail
    share = left.sum() / batch.avail.sum()
    assert 0 < share <= 1
    torch.testing.assert_close(bcq.diagnose(nets, batch, small)["allowed"][0], share)


def test_both_encodings_of_the_credit_end_in_a_relu_and_the_weights_do_not():
    mix = Factorization(generators([0]), n=2, state=7, actions=4, hidden=16)
    o, a = torch.randn(1, 50, 7), torch.randint(4, (1, 50, 2))
    h_v, h_q = mix.f_v1(o), mix.f_q1(torch.randn(1, 50, 7 + 2 * 4))
    for h in (h_v, h_q):
        assert (h >= 0).all() and (h == 0).any() and (h > 0).any()
    raw = mix.f_q2(torch.cat([h_v, h_q], -1))
    w_v, w_q, _ = mix(o, a)
    assert (raw < 0).any() and (w_v >= 0).all() and (w_q >= 0).all()


def test_the_diagnostics_of_policies_and_weights_are_literal_loops():
    rng, (K, P, B, n, A) = np.random.default_rng(0), (2, 3, 5, 2, 4)
    x = rng.normal(size=(K, P, B, n, A))
    avail = rng.random((K, B, n, A)) < 0.6
    avail[..., 0] = True
    a = np.where(avail, rng.random(avail.shape), -1).argmax(-1)
    batch = SimpleNamespace(o=torch.zeros(K, B, n, 1), a=torch.from_numpy(a), avail=torch.from_numpy(avail))
    answer, parameters = torch.from_numpy(x.reshape(K * P, B, n, A)), lambda: iter([torch.zeros(K * P)])
    pi = mock.Mock(return_value=answer, parameters=parameters)
    for masked in (True, False):
        found = policy_diagnostics(pi, batch, SimpleNamespace(mask_actions=masked))
        for k, p in np.ndindex(K, P):
            entropy, likelihood, agreement = [], [], []
            for b, i in np.ndindex(B, n):
                there = avail[k, b, i]
                seen = there if masked else np.ones(A, bool)
                prob = np.where(seen, np.exp(x[k, p, b, i]), 0)
                prob = prob / prob.sum()
                entropy.append(-(prob[seen] * np.log(prob[seen])).sum())
                likelihood.append(np.log(prob[a[k, b, i]]))
                agreement.append(np.where(there, x[k, p, b, i], -np.inf).argmax() == a[k, b, i])
            wanted = {"entropy": entropy, "log_likelihood": likelihood, "agreement": agreement}
            for name, values in wanted.items():
                assert found[name][k, p].item() == pytest.approx(np.mean(values), abs=1e-6), name
    w = rng.random((K, P, B, n))
    found = weight_diagnostics(torch.from_numpy(w))
    for k, p in np.ndindex(K, P):
        each = w[k, p].ravel()
        wanted = each.mean(), each.std(ddof=1), each.sum() ** 2 / (len(each) * (each**2).sum())
        got = [found[name][k, p].item() for name in ("weight_mean", "weight_std", "weight_share")]
        assert got == pytest.approx(wanted)


def test_the_logged_correlation_of_q_tot_is_that_with_the_returns_of_its_seed():
    rng = np.random.default_rng(0)
    probe = {"q_tot": rng.normal(size=(2, 50)), "ret": rng.normal(size=(2, 50))}
    for k in range(2):
        wanted = np.corrcoef(probe["q_tot"][k], probe["ret"][k])[0, 1]
        assert summarise(probe, k)["q_correlation"] == pytest.approx(wanted) and abs(wanted) < 0.5
    flat = {**probe, "q_tot": np.ones((2, 50))}
    assert summarise(flat, 0)["q_correlation"] == 0  # of a constant there is none


def test_rows_for_several_networks_are_those_of_each_seed_side_by_side():
    obs = np.random.default_rng(0).normal(size=(9, 3, 4)).astype(np.float32) * (np.arange(9) % 3 > 0)[:, None, None]
    rows = PackedObservations(obs).at(torch.arange(8).view(2, 4))
    for networks in (1, 2, 3):
        wanted = rows.dense().repeat_interleave(networks, 0)
        assert torch.equal(for_each(rows, networks).dense(), wanted)
        assert torch.equal(for_each(rows.dense(), networks), wanted)

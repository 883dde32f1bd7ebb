"""One contract for every simulator."""

import importlib.util
import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

from omac.behaviour import levels
from omac.envs import make
from omac.envs.smac.env import require_smac
from omac.envs.toy import LENGTH, optimum
from omac.evaluation import BatchedPolicy, battle_seeds, play, rollout

NAMES = ["toy:line", "smax:5m_vs_6m", "smax:6h_vs_8z", "smax:3s5z_vs_3s6z", "smax:corridor"]
SIZES = {
    "smax:5m_vs_6m": (5, 140, 132, 11),
    "smax:6h_vs_8z": (6, 179, 168, 13),
    "smax:3s5z_vs_3s6z": (8, 218, 204, 14),
    "smax:corridor": (6, 387, 360, 29),
}


def random_action(avail, rng):
    return np.where(avail, rng.random(avail.shape), -1).argmax(-1)


@pytest.fixture(scope="module", params=[NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])])
def fought(request):
    """Four battles of random actions fought to their ends and two steps beyond: every view and step."""
    battle = make(request.param, 4)
    rng = np.random.default_rng(0)
    views, steps = [battle.reset(np.arange(4))], []
    over = np.zeros(4, bool)
    while not over.all():
        steps.append(battle.step(random_action(views[-1].avail, rng)))
        views.append(steps[-1].view)
        over = steps[-1].terminated | steps[-1].truncated
    for _ in range(2):
        steps.append(battle.step(np.full((4, battle.spec.n), -1)))
        views.append(steps[-1].view)
    return request.param, battle, views, steps


def test_sizes_and_types_are_those_of_the_spec(fought):
    name, battle, views, steps = fought
    spec = battle.spec
    assert SIZES.get(name, (spec.n, spec.obs, spec.state, spec.actions)) == (spec.n, spec.obs, spec.state, spec.actions)
    for view in views:
        assert view.obs.shape == (4, spec.n, spec.obs) and view.obs.dtype == np.float32
        assert view.state.shape == (4, spec.state) and view.state.dtype == np.float32
        assert view.avail.shape == (4, spec.n, spec.actions) and view.avail.dtype == bool
        assert view.avail.any(-1).all() and np.isfinite(view.obs).all() and np.isfinite(view.state).all()
    for step in steps:
        assert step.reward.dtype == np.float32 and all(x.dtype == bool for x in step[2:])


def test_rewards_are_on_the_scale_and_a_win_in_smax_is_twenty(fought):
    total = sum(s.reward.astype(float) for s in fought[3])
    assert (total <= 20.001).all()
    won = fought[3][-1].won
    np.testing.assert_allclose(total[won & fought[0].startswith("smax")], 20, atol=1e-3)
    assert (total[~won] < 10.001).all()


def test_terminated_and_truncated_are_told_apart(fought):
    _, battle, _, steps = fought
    last = steps[-1]
    assert (last.terminated ^ last.truncated).all() and (~last.won | last.terminated).all()
    assert len(steps) - 2 <= battle.spec.horizon


def test_a_finished_battle_stays_as_it_was_whatever_it_is_told(fought):
    steps = fought[3]
    for k, x in enumerate(steps[-3].view):
        np.testing.assert_array_equal(x, steps[-1].view[k])
    assert (steps[-1].reward == 0).all() and (steps[-1].terminated == steps[-3].terminated).all()


def test_the_same_seeds_give_the_same_battles_and_where_restarts_only_those(fought):
    name, battle, views, steps = fought
    again = battle.reset(np.arange(4), np.array([True, False, False, False]))
    np.testing.assert_array_equal(again.obs[0], views[0].obs[0])
    np.testing.assert_array_equal(again.obs[1:], views[-1].obs[1:])
    battle.reset(np.arange(4))
    rng = np.random.default_rng(0)
    for view, step in list(zip(views, steps, strict=False))[:5]:
        got = battle.step(random_action(view.avail, rng))
        np.testing.assert_array_equal(got.view.obs, step.view.obs)
        np.testing.assert_array_equal(got.reward, step.reward)
    other = battle.reset(np.arange(4) + 100)
    assert not np.array_equal(other.state, views[0].state)


@pytest.mark.slow
def test_a_won_battle_of_smax_returns_twenty_and_a_lost_one_less_than_ten():
    net, states, _ = levels.load_level("smax", "6h_vs_8z", "good")
    battle = make("smax:6h_vs_8z", 8)
    act = BatchedPolicy.of(net, states[-1:], battle.spec.horizon, sample=True)
    data = rollout(battle, act, battle_seeds(8, shape=(8, 2)), {"policies": ["good"]})
    assert data.win.any() and data.terminated[data.start[1:] - 1][data.win].all()
    np.testing.assert_allclose(data.returns[data.win], 20, atol=1e-3)
    assert (data.returns[~data.win] < 10.001).all()


@pytest.mark.slow
def test_the_time_limit_of_smax_truncates_and_does_not_terminate():
    battle = make("smax:5m_vs_6m", 2)
    assert battle.spec.horizon == 100 == battle.sim.max_steps
    battle.sim._env.max_steps = 3  # before the first step is compiled
    view = battle.reset(np.arange(2))
    for t in range(3):
        step = battle.step(np.full((2, 5), 4))  # everyone stops
        assert (step.truncated == (t == 2)).all() and not step.terminated.any() and not step.won.any()
    assert view.avail[..., 4].all()


@pytest.mark.slow
def test_a_battle_of_smax_is_jaxmarls_own():
    """Our step computes the observations of both teams once; JaxMARL's step_env twice."""
    import jax

    from omac.envs.smax import REWARD_SCALE, pinned

    battle, rng = make("smax:3s5z_vs_3s6z", 3), np.random.default_rng(0)
    sim, seeds = battle.sim, np.array([5, 6, 7], np.uint32)

    def one(key, state, action):
        key = jax.random.fold_in(key, state.state.step)
        obs, state, reward, done, _ = sim.step_env(key, state, {agent: action[i] for i, agent in enumerate(sim.agents)})
        return state, [obs[agent] for agent in sim.agents], obs["world_state"], reward[sim.agents[0]], done["__all__"]

    with pinned():
        keys = jax.numpy.stack([jax.numpy.zeros_like(seeds), seeds], 1)
        states, step_env = jax.vmap(lambda key: sim.reset(key)[1])(keys), jax.jit(jax.vmap(one))
    view, dealt, over = battle.reset(seeds), 0, False
    while not over:
        action = random_action(view.avail, rng)
        step = battle.step(action)
        view = step.view
        with pinned():
            states, obs, state, reward, done = step_env(keys, states, action)
        # a quotient may be compiled as a product: one bit
        np.testing.assert_allclose(view.obs, np.stack(obs, 1), atol=2e-7)
        np.testing.assert_allclose(view.state, state, atol=2e-6)
        np.testing.assert_allclose(step.reward, REWARD_SCALE * np.asarray(reward), atol=1e-6)
        assert (step.terminated | step.truncated).tolist() == done.tolist()
        dealt, over = dealt + (step.reward > 0).sum(), (step.terminated | step.truncated).any()
    assert dealt > 10


def test_an_action_that_is_not_available_is_refused_by_name(fought):
    battle = fought[1]
    view = battle.reset(np.arange(4))
    action = view.avail.argmax(-1)
    action[2, 1] = np.flatnonzero(~view.avail[2, 1])[0] if not view.avail[2, 1].all() else battle.spec.actions
    with pytest.raises(ValueError, match="battle 2, agent 1: action .* is not available"):
        battle.step(action)


def test_a_dead_agent_of_smax_can_only_stop(fought):
    if fought[0].startswith("toy"):
        pytest.skip("nobody dies on the line")
    dead = [(v.obs[..., -10:] == 0).all(-1) for v in fought[2]]
    assert sum(d.sum() for d in dead) > 0
    for view, d in zip(fought[2], dead, strict=True):
        assert (view.avail[d].sum(-1) == 1).all() and view.avail[d][:, 4].all()


def test_the_toy_optimum_is_reached_by_walking_right_and_by_nothing_better():
    battle, gamma = make("toy:line", 64), 0.9
    best, rng = np.full(64, -np.inf), np.random.default_rng(0)
    for trial in range(40):
        view = battle.reset(np.arange(64))
        start = view.obs[:, :, : LENGTH + 1].argmax(-1)
        total = np.zeros(64)
        for t in range(battle.spec.horizon):
            right = np.where(view.avail[..., 2], 2, 0)
            step = battle.step(
                right if trial == 0 else np.where(rng.random(right.shape) < 0.2, random_action(view.avail, rng), right)
            )
            total += gamma**t * step.reward
            view = step.view
        if trial == 0:
            np.testing.assert_allclose(total, optimum(start, gamma), rtol=1e-5)
        best = np.maximum(best, total)
    assert (best <= optimum(start, gamma) + 1e-4).all()


def test_every_seed_is_fought_once_and_slots_do_not_change_a_battle():
    seeds = battle_seeds(1, shape=(12,))

    def returns(slots):
        battle, total = make("toy:line", slots), np.zeros((slots, 12 // slots))

        def act(obs, avail, seed, t):
            return np.stack([random_action(avail[e], np.random.default_rng([seed[e], t[e]])) for e in range(slots)])

        for f in play(battle, act, seeds.reshape(slots, -1)):
            total[np.flatnonzero(f.live), f.turn[f.live]] += f.after.reward[f.live]
        return total.ravel()

    np.testing.assert_allclose(returns(12), returns(3))
    np.testing.assert_allclose(returns(12), returns(1))


@pytest.mark.parametrize("name", [pytest.param("smax:3m_in_a_boat", marks=pytest.mark.slow), "toy:square", "chess:8x8"])
def test_an_unknown_map_or_environment_is_named(name):
    with pytest.raises(ValueError, match=name.split(":")[1] if "chess" not in name else "chess"):
        make(name, 1)


def test_whoever_has_no_smac_or_the_wrong_one_is_told_which_to_install(tmp_path, monkeypatch, forget_smac):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="git repository"):
        require_smac()
    monkeypatch.undo()
    (tmp_path / "smac").mkdir()
    (tmp_path / "smac" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="SMAC3"):
        require_smac()


@pytest.mark.slow
def test_jaxmarls_other_games_are_not_imported_and_jaxmarl_is_whole_for_whoever_imports_it_later():
    code = """
import sys
import omac.envs.smax as ours
assert not {"jaxmarl", "jaxmarl.environments", "jaxmarl.environments.storm"} & set(sys.modules)
import jaxmarl
assert jaxmarl.environments.HeuristicEnemySMAX is ours.HeuristicEnemySMAX and "jaxmarl.environments.storm" in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


BATTLES = """
import hashlib
import numpy as np
from omac.envs import make
battle = make("smax:5m_vs_6m", 2)
{between}
views = [*battle.reset(np.array([1, 2], np.uint32)), *battle.step(np.full((2, 5), 4)).view]
print(hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in views)).hexdigest())
"""
HOSTILE = {  # as a shell profile or a cluster's job template may set them for other work
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_RANDOM_SEED_OFFSET": "7",
    "JAX_ENABLE_CUSTOM_PRNG": "1",
    "JAX_LEGACY_PRNG_KEY": "error",
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEBUG_INFS": "1",
    "JAX_DISABLE_JIT": "1",
    "JAX_PLATFORMS": "cuda",
}
CHANGED_LATER = """
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_threefry_partitionable", False)
"""


def fought_anew(first="", between="", **settings):
    """What a process of its own says of two battles; `first` and `between` run before omac is imported, and after `make`."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # to compile, not to run
    words = [sys.executable, "-c", first + BATTLES.format(between=between)]
    return subprocess.run(words, env={**plain, **quick, **settings}, capture_output=True, text=True)


@pytest.mark.slow
def test_no_setting_of_jax_changes_a_battle_whenever_it_is_made():
    plain = fought_anew()
    assert len(plain.stdout.strip()) == 64
    assert fought_anew(**HOSTILE).stdout == plain.stdout
    assert fought_anew(first=f"import jax.numpy\n{CHANGED_LATER}").stdout == plain.stdout
    assert fought_anew(between=CHANGED_LATER).stdout == plain.stdout


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="the flags are x86-64's")
def test_battles_are_rounded_as_ieee_754_says_whatever_the_processor():
    """SSE4.2 and AVX have no FMA: the same bytes. Where the process has it, or adds in another order, no data are collected."""
    plain = fought_anew(XLA_FLAGS="").stdout
    assert len(plain.strip()) == 64
    assert fought_anew(XLA_FLAGS="--xla_cpu_max_isa=SSE4_2").stdout == plain
    check = "from omac.envs.smax import check_exact\ncheck_exact()\nprint('exact')"
    begun = "import jax\njax.devices()\n"
    ynn = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_REDUCE"
    fused, order = "computes with fused multiply-add", "adds in an order of its own"
    for flags, first, said in (
        ("", "", ()),
        ("--xla_cpu_max_isa=SSE4_2", "", ()),
        ("", begun, (fused, order)),
        (ynn, "", (order,)),
    ):
        words = [sys.executable, "-c", first + check]
        done = subprocess.run(words, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True)
        if said:
            assert any(f"JAX {x} in this process" in done.stderr.splitlines()[-1] for x in said)
        else:
            assert done.stdout == "exact\n", done.stderr


def test_the_tests_begin_jax_with_the_flags_of_smax():
    """conftest.py sets them before any test can begin JAX, and cannot import the module that has them."""
    from omac.envs.smax import FLAGS

    assert {f"--{name}={value}" for name, value in FLAGS.items()} <= set(os.environ["XLA_FLAGS"].split(" "))


@pytest.mark.slow
def test_no_part_of_a_battle_is_left_to_a_library_that_chooses_by_the_processor():
    """What XLA compiles is fixed by its flags. A call of a library's kernel would stand in the program as kCustom or custom-call."""
    words = """
import numpy as np
from omac.envs import make
battle = make("smax:3s5z_vs_3s6z", 2)
battle.reset(np.arange(2, dtype=np.uint32))
action = np.zeros((2, battle.spec.n), np.int32)
print(battle._step.lower(battle._carry, battle._out, action).compile().as_text())
"""
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert "sqrt(" in done.stdout, done.stderr
    assert not re.search("kCustom|custom-call", done.stdout)


@pytest.mark.slow
def test_jaxmarl_imported_in_64_bit_mode_is_refused():
    done = fought_anew(first="import jax\njax.config.update('jax_enable_x64', True)\nimport jaxmarl\n")
    assert done.returncode and "JaxMARL was imported with JAX in 64-bit mode" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_platform_that_jax_cannot_begin_with_is_refused_in_one_line():
    done = fought_anew(JAX_PLATFORMS="abacus")
    assert done.returncode and "which JAX does not offer here: set JAX_PLATFORMS=cpu" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_battle_leaves_its_users_jax_as_it_was():
    import jax

    with jax.enable_x64(True), jax.threefry_partitionable(False):
        make("smax:5m_vs_6m", 1).reset(np.zeros(1, np.uint32))
        assert jax.numpy.ones(1, "f8").dtype == "f8" and not jax.config.jax_threefry_partitionable

"""SMAX (JaxMARL), the embedded default: StarCraft's micromanagement without StarCraft. The only file that imports jax."""

import contextlib
import os
import platform
import sys
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec

import jax
import jax.numpy as jnp
import numpy as np

from omac.envs.battle import Spec, Step, View, check_actions
from omac.envs.smax_maps import settings_of
from omac.paths import BUILD

PINS = {  # all of JAX that can change a battle, whatever its user has set; recorded with the data
    "jax_platforms": "cpu",
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,
    "jax_numpy_dtype_promotion": "standard",
}
# Of XLA, so that a battle is the same on every x86-64 processor. Without fused multiply-add, which not all have, and with
# sums in the order written, IEEE 754 leaves no choice in any bit. YNNPACK's kernels are chosen by the processor as they
# run, whatever the compiler is told, and add in an order of their own. JAX reads the flags once, when it begins in a process.
FLAGS = {"xla_cpu_max_isa": "AVX", "xla_cpu_experimental_ynn_fusion_type": ""}
CALM = {  # what would stop or slow a battle
    "jax_numpy_rank_promotion": "allow",
    "jax_enable_custom_prng": False,
    "jax_legacy_prng_key": "allow",
    "jax_debug_key_reuse": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_disable_jit": False,
}


def _set_flags():
    """Add FLAGS to XLA_FLAGS, where whoever started the process has not set them."""
    asked = os.environ.get("XLA_FLAGS", "")
    ours = [f"--{name}={value}" for name, value in FLAGS.items() if name not in asked]
    os.environ["XLA_FLAGS"] = " ".join([asked, *ours]).strip()


def _cpu():
    """Name the CPU as a JAX device, in a process that prefers other platforms too. Raises RuntimeError where there is none."""
    asked, cpu = jax.config.jax_platforms, PINS["jax_platforms"]
    if not asked or cpu not in asked.split(","):  # alone where nobody asked: other platforms take seconds to begin
        jax.config.update("jax_platforms", f"{asked},{cpu}" if asked else cpu)
    try:
        return jax.devices(cpu)[0]
    except RuntimeError as e:
        raise RuntimeError(
            f"SMAX is fought on the CPU, which JAX does not offer here: set JAX_PLATFORMS=cpu ({str(e).splitlines()[0]})"
        ) from None


@contextlib.contextmanager
def pinned():
    """Inside it JAX computes as PINS say, in this thread; outside it stays as its user has set it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.default_device(_cpu()))
        for name, value in {**PINS, **CALM}.items():
            if name != "jax_platforms":
                stack.enter_context(getattr(jax, name.removeprefix("jax_"))(value))
        yield


@contextlib.contextmanager
def without_init(*packages):
    """Inside it modules of `packages`, a package before its subpackages, are imported without running the packages' __init__."""
    bare = [name for name in packages if name not in sys.modules]
    try:
        for name in bare:
            sys.modules[name] = module_from_spec(find_spec(name))
        yield
    finally:  # whoever imports them later gets them whole
        for name in bare:
            sys.modules.pop(name, None)


_set_flags()
# whose __init__ import every game: nearly half the time that a cell took to begin
with pinned(), without_init("jaxmarl", "jaxmarl.environments"):
    from jaxmarl.environments.smax import HeuristicEnemySMAX, Scenario, map_name_to_scenario, register_scenario

jax.config.update("jax_compilation_cache_dir", os.environ.get("OMAC_JAX_CACHE", str(BUILD / "jax-cache")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

REWARD_SCALE = 10.0  # SMAX pays 1 for all damage and 1 for the win; SMAC's scale is 0-20


def simulator(map_name):
    """The JaxMARL environment of a map.

    Raises ValueError for a map outside the paper's four, RuntimeError when JaxMARL was imported in 64-bit mode.
    """
    settings = dict(settings_of(map_name))
    if "units" in settings:
        units = jnp.array(settings.pop("units"), dtype=jnp.uint8)
        allies = settings.pop("allies")
        register_scenario(map_name, Scenario(units, allies, len(units) - allies, False, False))
    settings = {k: jnp.array(v) if isinstance(v, list) else v for k, v in settings.items()}
    sim = HeuristicEnemySMAX(
        scenario=map_name_to_scenario(map_name), see_enemy_actions=True, attack_mode="closest", **settings
    )
    if sim.unit_type_health.dtype != jnp.float32:
        raise RuntimeError(
            f"JaxMARL was imported with JAX in 64-bit mode, its numbers are {sim.unit_type_health.dtype}: import omac.envs.smax first"
        )
    return sim


@pinned()
def check_exact():
    """Raise RuntimeError where JAX rounds otherwise than IEEE 754 does, operation by operation: battles would end otherwise
    on another processor.
    """
    # (1 + 2^-12)^2 - (1 + 2^-11) is 2^-24, and 0 where the square is rounded first
    x, y = (np.full(64, 1 + 2.0**-k, np.float32) for k in (12, 11))
    fused = np.asarray(jax.jit(lambda x, y: x * x - y)(x, y)).any()
    # numbers of many sizes, whose sum depends on the order; accumulate adds one after another
    z = np.random.default_rng(0).normal(size=(4096, 14)).astype(np.float32)
    reordered = (np.asarray(jax.jit(lambda z: z.sum(-1))(z)) != np.add.accumulate(z, axis=-1)[:, -1]).any()
    if platform.machine().lower() in ("x86_64", "amd64") and (fused or reordered):
        wanted = " ".join(f"--{name}={value}" for name, value in FLAGS.items())
        what = "computes with fused multiply-add" if fused else "adds in an order of its own"
        raise RuntimeError(
            f"JAX {what} in this process, so that the data would be this processor's own: collect in "
            f'a process of its own (`python -m omac pull`), or set XLA_FLAGS="{wanted}" before JAX begins'
        )


class Smax:
    """E battles of one SMAX map behind the Battle contract, one compiled call a step."""

    @pinned()
    def __init__(self, map_name, battles):
        self.sim = simulator(map_name)
        self.spec = Spec(
            "smax",
            map_name,
            self.sim.num_allies,
            int(self.sim.obs_size),
            int(self.sim.state_size),
            int(self.sim.num_ally_actions),
            int(self.sim.max_steps),
        )
        self.version = ", ".join(f"{name} {version(name)}" for name in ("jaxmarl", "jax"))
        self.battles = battles
        self._begin = jax.jit(partial(_begin, self.sim))
        self._step = jax.jit(partial(_step, self.sim))
        self._carry = self._out = None

    @pinned()
    def reset(self, seeds, where=None):
        """See Battle.reset."""
        seeds = np.asarray(seeds, np.uint32)
        if seeds.shape != (self.battles,):
            raise ValueError(f"seeds have shape {seeds.shape}; {self.battles} battles need ({self.battles},)")
        where = np.ones(self.battles, bool) if where is None else np.asarray(where, bool)
        if self._carry is None:
            if not where.all():
                raise ValueError("the first reset must begin every battle: leave `where` out")
            self._carry, self._out = jax.eval_shape(self._begin, seeds, None, None, where)
            self._carry, self._out = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (self._carry, self._out))
        self._carry, self._out = self._begin(seeds, self._carry, self._out, where)
        return self._read().view

    @pinned()
    def step(self, action):
        """See Battle.step."""
        if self._carry is None:
            raise RuntimeError("step before reset: call reset(seeds) first")
        check_actions(action, np.asarray(self._out[0].avail), np.asarray(self._out[2] | self._out[3]))
        self._carry, self._out = self._step(self._carry, self._out, np.asarray(action, np.int32))
        return self._read()

    def close(self):
        """See Battle.close: nothing runs outside."""

    def _read(self):
        return jax.tree.map(np.asarray, Step(*self._out))


def _canonical(tree):
    """Strip weak types: reset's and step's outputs must look alike, or every function is compiled twice."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, jnp.result_type(x).type), tree)


def observe(sim, state):
    """Observe one battle, of both teams at once: JaxMARL computes all observations whenever it is asked for one.

    Args:
        sim: as `simulator` makes it.
        state: its state.
    Returns:
        The agents' View, and what their enemies observe, f32 [enemies,O].
    """
    obs, avail = sim.get_all_unit_obs(state), sim.get_avail_actions(state)
    ours, theirs = (jnp.stack([obs[a] for a in team]) for team in (sim.agents, sim.enemy_agents))
    return View(ours, sim.get_world_state(state), jnp.stack([avail[a] for a in sim.agents]).astype(bool)), theirs


def advance(sim, key, state, action, theirs):
    """Step one battle as JaxMARL's step_env does, which would compute once more what the enemies observe.

    Args:
        sim: as `simulator` makes it.
        key: of the battle.
        state: before the step.
        action: int [n].
        theirs: f32 [enemies,O], as `observe` gives it for the state.
    Returns:
        The state after the step, and what Step says besides the view: reward, terminated, truncated, won.
    """
    key, enemy_key = jax.random.split(jax.random.fold_in(key, state.state.step))
    chosen, enemies = sim.get_enemy_actions(enemy_key, state.enemy_policy_state, theirs)
    moves = jnp.concatenate([action, jnp.stack([chosen[a] for a in sim.enemy_agents])])
    _, fought, reward, _, _ = sim.step_env_no_decode(key, state.state, sim._decode_discrete_actions(moves))
    alive = fought.unit_alive
    ours_left, theirs_left = alive[: sim.num_allies].any(), alive[sim.num_allies :].any()
    ended = ~ours_left | ~theirs_left
    limit = (fought.step >= sim.max_steps) & ~ended
    state = state.replace(state=fought, enemy_policy_state=enemies)
    return state, (REWARD_SCALE * reward[sim.agents[0]], ended, limit, ours_left & ~theirs_left)


def _where(mask, new, old):
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b), new, old)


def _begin(sim, seeds, carry, out, where):
    """Battles `where` begin anew, each from its own key; the others stay as they are."""

    def one(seed):
        key = jnp.stack([jnp.zeros_like(seed), seed])  # PRNGKey's own, without a user's jax_random_seed_offset
        _, state = sim.reset(key)
        view, theirs = observe(sim, state)
        no = jnp.zeros((), bool)
        return (key, state, theirs), (view, jnp.zeros((), jnp.float32), no, no, no)

    new = _canonical(jax.vmap(one)(seeds))
    return new if carry is None else _where(where, new, (carry, out))


def _step(sim, carry, out, action):
    """One lock-step; a battle that was over stays as it was, with reward 0."""

    def one(key, state, theirs, a):
        state, ends = advance(sim, key, state, a, theirs)
        view, theirs = observe(sim, state)
        return (key, state, theirs), (view, *ends)

    new = jax.vmap(one)(*carry, action)
    still = (out[0], jnp.zeros_like(out[1]), *out[2:])
    return _canonical(_where(~(out[2] | out[3]), new, (carry, still)))

"""SMAX battles for MAPPO to learn from: simulator, actor and sampling in one compiled call of many lock-steps.

The battles are those of omac.envs.smax, key by key. What is measured or recorded as data is fought by omac/evaluation.py.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from omac.behaviour.lock_steps import Fought
from omac.envs.smax import advance, observe, pinned, simulator
from omac.nn.policy import MASKED

CALL = 8  # lock-steps of a compiled call. The last call of an update goes on after the last battle has ended


class CompiledBattles:
    """Battles of one SMAX map. They wait in a queue: a slot whose battle ends takes the next one."""

    @pinned()
    def __init__(self, map_name, slots):
        self.slots = slots
        sim = simulator(map_name)
        self._begin = jax.jit(partial(_begin, sim))
        self._lock_steps = jax.jit(partial(_lock_steps, sim))

    @pinned()
    def fight(self, actor, seeds):
        """Fight a battle for each of `seeds`, uint32 [N], N at least the slots, with AgentMLP `actor`. Returns Fought."""
        weights = {name: x[0].numpy() for name, x in actor.state_dict().items()}
        waiting = self._begin(np.asarray(seeds, np.uint32))
        # the place in the queue of each slot's battle, what the slot holds, and how many battles were begun
        carry = np.arange(self.slots), jax.tree.map(lambda x: x[: self.slots], waiting), np.int32(self.slots)
        calls = []
        while not calls or (np.asarray(carry[0]) < len(seeds)).any():
            carry, (by_slot, rows, after) = self._lock_steps(weights, waiting, carry)
            by_slot = {name: np.asarray(x) for name, x in by_slot.items()}
            live = by_slot["live"]
            rows = {name: np.asarray(x)[live] for name, x in rows.items()}
            calls.append((by_slot, rows, {"final": np.asarray(after)[live & by_slot["truncated"]]}))
        return Fought(
            **{k: np.concatenate([x[k] for x in group]) for group in zip(*calls, strict=True) for k in group[0]}
        )


def actor_logits(weights, obs):
    """Compute AgentMLP's logits in JAX: obs [E,n,O] -> [E,n,A]. weights: its state dict, of one seed, without the seed axis."""
    h = jax.nn.relu(obs @ weights["first.weight"] + weights["first.bias"] + weights["agent"])
    h = jax.nn.relu(h @ weights["rest.layers.0.weight"] + weights["rest.layers.0.bias"])
    return h @ weights["rest.layers.1.weight"] + weights["rest.layers.1.bias"]


def _begin(sim, seeds):
    """Battles as they begin: their keys and states."""
    keys = jnp.stack([jnp.zeros_like(seeds), seeds], 1)
    return keys, jax.vmap(lambda key: sim.reset(key)[1])(keys)


def _lock_steps(sim, weights, waiting, carry):
    return jax.lax.scan(lambda carry, _: _lock_step(sim, weights, waiting, carry), carry, length=CALL)


def _lock_step(sim, weights, waiting, carry):
    place, (keys, states), begun = carry
    live = place < len(waiting[0])
    # act
    view, theirs = jax.vmap(partial(observe, sim))(states)
    log_p = jax.nn.log_softmax(jnp.where(view.avail, actor_logits(weights, view.obs), MASKED))
    action = jax.vmap(_draw)(keys, states, log_p)
    log_pi = jnp.take_along_axis(log_p, action[..., None], -1)[..., 0]
    rows = {**view._asdict(), "action": action, "log_pi": log_pi}
    # step
    states, (reward, terminated, truncated, won) = jax.vmap(partial(advance, sim))(keys, states, action, theirs)
    ends = {"reward": reward, "terminated": terminated, "truncated": truncated, "won": won}
    after = jax.vmap(sim.get_world_state)(states)
    # slots whose battle ended take the next ones, in their order
    over = live & (terminated | truncated)
    place = jnp.where(over, begun + jnp.cumsum(over) - 1, place)
    following = jax.tree.map(lambda x: x[jnp.minimum(place, len(x) - 1)], waiting)
    kept = jax.tree.map(
        lambda new, old: jnp.where(over.reshape(-1, *[1] * (old.ndim - 1)), new, old), following, (keys, states)
    )
    return (place, kept, begun + over.sum()), ({"live": live, **ends}, rows, after)


def _draw(key, state, log_p):
    """Draw the actions of one battle's agents, log_p [n,A] -> [n]: the first whose cumulative probability exceeds a uniform number."""
    key = jax.random.fold_in(key.at[0].set(1), state.state.step)  # the simulator's own keys begin with 0
    cumulative = jnp.cumsum(jnp.exp(log_p), -1)
    u = jax.random.uniform(key, (len(log_p), 1)) * cumulative[:, -1:]
    return (cumulative <= u).sum(-1)

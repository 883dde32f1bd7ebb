"""Small data sets and settings that many tests share; everything here is toy and needs no jax."""

import importlib
import sys

import numpy as np
import pytest
import torch

from omac.config.hyper import Hyper
from omac.envs import make
from omac.evaluation import BatchedPolicy, battle_seeds, rollout

torch.set_num_threads(1)
ABOUT = {"policies": ["random"], "level": "random", "source": "toy", "seed": 0, "versions": {}, "reward_scale": 20}


@pytest.fixture(scope="session")
def toy():
    """300 battles of the uniform random policy on toy:line."""
    battle = make("toy:line", 50)
    act = BatchedPolicy(lambda x: torch.zeros(*x.shape[:3], 3), 1, battle.spec.horizon, sample=True)
    return rollout(battle, act, battle_seeds(7, shape=(50, 6)), ABOUT)


@pytest.fixture
def small():
    """Settings small enough for a test."""
    counts = {"steps": 40, "policy_steps": 40, "eval_every": 20, "eval_episodes": 4, "final_episodes": 8}
    return Hyper(hidden=16, cca_hidden=8, batch_size=32, **counts)


@pytest.fixture
def forget_smac():
    """No package `smac` that another test put on the path is remembered, before or after."""

    def forget():
        importlib.invalidate_caches()
        for name in [m for m in sys.modules if m.split(".")[0] == "smac"]:
            del sys.modules[name]

    forget()
    yield
    forget()


@pytest.fixture
def draw():
    """A random tensor by seed and shape, in double precision."""

    def normal(seed, *shape):
        return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))

    return normal

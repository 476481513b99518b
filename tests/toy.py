"""Environments of a few numbers, for tests of what surrounds the policy and needs no simulator."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

LOW, HIGH = np.array([-1.0, -0.1], np.float32), np.array([1.0, 0.3], np.float32)


class Toy(gym.Env):
    """Observations far from a mean of zero, of which one is nearly constant; uneven bounds; episodes of ten steps."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(LOW, HIGH)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        return self._observe(), float(action.sum()), False, self.steps == 10, {}

    def _observe(self) -> np.ndarray:
        return self.np_random.normal([50.0, 0.0, -1.0], [1e-2, 1e-3, 20.0]).astype(np.float32)


def make_env(num_envs: int = 4) -> DummyVecEnv:
    return DummyVecEnv([Toy] * num_envs)

"""Environments of a few numbers, for tests of what surrounds the policy and needs no simulator."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

from pipeline.simulation.tensor_env import EpisodeEnd

LOW, HIGH = np.array([-1.0, -0.1], np.float32), np.array([1.0, 0.3], np.float32)


class Toy(gym.Env):
    """Observations far from a mean of zero, of which one is nearly constant; uneven bounds; episodes of ten steps."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(LOW, HIGH)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._observe(), float(action.sum()), False, self.steps == 10, {}

    def _observe(self) -> np.ndarray:
        return self.np_random.normal([50.0, 0.0, -1.0], [1e-2, 1e-3, 20.0]).astype(np.float32)


class Rough(Toy):
    """What tempts an implementation to be wrong: ends of every kind at any step, and outliers.

    An episode terminates, times out, or does both at once, also in its first step. Some observations are far beyond
    VecNormalize's clipping, as are some rewards, which depend on the action.
    """

    def step(self, action):
        terminated, truncated, outlier = self.np_random.random(3) < (0.15, 0.25, 0.1)
        observation = self._observe()
        reward = (10.0 if outlier else 1.0) * float(observation[2] / 20.0 - action.sum() ** 2)
        return observation, reward, bool(terminated), bool(truncated), {}

    def _observe(self) -> np.ndarray:
        return super()._observe() * (100.0 if self.np_random.random() < 0.05 else 1.0)


def make_env(num_envs: int = 4, cls: type[Toy] = Toy) -> DummyVecEnv:
    return DummyVecEnv([cls] * num_envs)


class TensorToy(VecEnvWrapper):
    """Toys in the form of :class:`pipeline.simulation.tensor_env.TensorEnv`."""

    venv: Any

    def __init__(self, num_envs: int = 4, device: str = "cpu", cls: type[Toy] = Toy) -> None:
        super().__init__(make_env(num_envs, cls))
        self.sim_device = device
        self.returns, self.lengths = np.zeros(num_envs, np.float32), np.zeros(num_envs, np.float32)

    def reset(self) -> Any:
        return self._tensor(self.venv.reset())

    def step_async(self, actions: Any) -> None:
        self.venv.step_async(actions.cpu().numpy())

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.returns, self.lengths = self.returns + rewards, self.lengths + 1
        time_outs = np.array([info["TimeLimit.truncated"] for info in infos])
        final = np.stack([info.get("terminal_observation", observations[0]) for info in infos])
        full = np.ones_like(dones)
        ended = EpisodeEnd(*map(self._tensor, (dones & ~time_outs, time_outs, final, self.returns, self.lengths, full)))
        self.returns, self.lengths = np.where(dones, 0, self.returns), np.where(dones, 0, self.lengths)
        return self._tensor(observations), self._tensor(rewards), self._tensor(dones), ended

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, device=self.sim_device)  # a copy, since DummyVecEnv uses its arrays again

"""Isaac Lab's environments as tensors, on a task of a few numbers that are known in advance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import isaaclab_rl.sb3
import numpy as np
import pytest
import torch

from pipeline.simulation.tensor_env import TensorEnv

pytestmark = pytest.mark.unit

ENDS = {2: ([True, False, False], [False, True, False]), 4: ([True, False, True], [True, False, False])}


class Task:
    """Three environments that count their steps; ENDS has which are terminated and truncated in which step."""

    num_envs, device, render_mode, max_episode_length = 3, "cpu", None, 50

    def __init__(self) -> None:
        self.unwrapped = self
        self.single_observation_space = {"policy": gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)}
        self.single_action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.episode_length_buf = torch.zeros(3, dtype=torch.long)
        self.steps = 0
        self.given: list[Any] = []

    def reset(self) -> Any:
        self.steps = 0
        return {"policy": torch.full((3, 1), -1.0)}, {}

    def step(self, actions: torch.Tensor) -> Any:
        self.given.append(actions)
        self.steps += 1
        terminated, truncated = (torch.tensor(ends) for ends in ENDS.get(self.steps, ([False] * 3, [False] * 3)))
        observations = torch.full((3, 1), float(self.steps))
        extras: dict[str, Any] = {"log": {"reward": self.steps}}
        if (terminated | truncated).any():
            extras["final_obs"] = {"policy": observations + 100}
        rewards = torch.tensor([1.0, 10.0, 100.0]) * self.steps
        return {"policy": observations}, rewards, terminated, truncated, extras


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> TensorEnv:
    monkeypatch.setattr(isaaclab_rl.sb3, "check_env_type", lambda env: None)
    return TensorEnv(Task())


def steps(env: TensorEnv, count: int) -> list[Any]:
    """So many steps; copies, since the next step may overwrite what one returns."""
    taken = []
    for _ in range(count):
        observations, rewards, dones, ended = env.step(torch.ones(3, 1))
        copies = {name: value.tolist() for name, value in ended._asdict().items()}
        taken.append(SimpleNamespace(observations=observations, rewards=rewards, dones=dones.tolist(), **copies))
    return taken


def test_actions_are_bounded_where_the_tasks_are_not(env: TensorEnv):
    assert isinstance(env.action_space, gym.spaces.Box)
    assert (env.action_space.low.tolist(), env.action_space.high.tolist()) == ([-1.0], [1.0])


def test_returns_and_lengths_are_those_of_the_episode(env: TensorEnv):
    assert env.reset().tolist() == [[-1.0]] * 3
    taken = steps(env, 4)
    assert [step.dones for step in taken] == [[False] * 3, [True, True, False], [False] * 3, [True, False, True]]
    # Rewards are 1, 2, 3, 4 times 1, 10 and 100.
    assert taken[1].returns == [3.0, 30.0, 300.0]
    assert taken[1].lengths == [2.0, 2.0, 2.0]
    assert taken[3].returns == [7.0, 70.0, 1000.0]
    assert taken[3].lengths == [2.0, 2.0, 4.0]
    assert taken[3].rewards.tolist() == [4.0, 40.0, 400.0]
    assert taken[3].observations.tolist() == [[4.0]] * 3
    env.reset()
    (first,) = steps(env, 1)
    assert (first.returns, first.lengths) == ([1.0, 10.0, 100.0], [1.0] * 3)


def test_an_episode_that_is_ended_by_the_task_and_the_clock_at_once_is_no_time_out(env: TensorEnv):
    env.reset()
    taken = steps(env, 4)
    assert (taken[1].terminated, taken[1].time_outs) == ([True, False, False], [False, True, False])
    assert (taken[3].terminated, taken[3].time_outs) == ([True, False, True], [False] * 3)


def test_the_final_observations_are_those_before_the_reset(env: TensorEnv):
    env.reset()
    assert [step.final_observations for step in steps(env, 2)] == [[[1.0]] * 3, [[102.0]] * 3]


def test_what_the_task_reports_is_that_of_the_last_step(env: TensorEnv):
    env.reset()
    steps(env, 3)
    assert env.task_log == {"reward": 3}


def test_episodes_that_began_in_their_middle_do_not_count_and_those_after_them_do(env: TensorEnv):
    env.reset()
    assert steps(env, 2)[1].full == [True] * 3
    env.reset()
    env.randomize_episode_lengths()
    taken = steps(env, 4)
    assert taken[1].full == [False] * 3
    assert taken[3].full == [True, True, False], "the first two have ended once"
    assert steps(env, 1)[0].full == [True] * 3
    env.randomize_episode_lengths()
    env.reset()
    assert steps(env, 2)[1].full == [True] * 3, "a reset begins at the beginning"


def test_ages_are_any_steps_of_an_episode_in_place(env: TensorEnv):
    task: Any = env.unwrapped
    ages = task.episode_length_buf = torch.full((10_000,), -1)
    torch.manual_seed(0)
    env.randomize_episode_lengths()
    assert task.episode_length_buf is ages
    assert ages.dtype == torch.long
    assert ages.unique().tolist() == list(range(50))
    assert ages.bincount().min() > 100  # of 200 each

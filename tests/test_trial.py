"""What a task's own functions return is looked at before anything is trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from isaaclab.envs import ManagerBasedRLEnv

from pipeline.evaluation import trial
from pipeline.experiment.errors import UserError

pytestmark = pytest.mark.unit


class Task(ManagerBasedRLEnv):
    """A manager-based task of one reward, which is not simulated."""

    _is_closed = True  # so that there is nothing to close at the end

    def __init__(self, reward: Any) -> None:
        term = SimpleNamespace(func=lambda env, scale: reward, params={"scale": 1.0})
        self.reward_manager: Any = SimpleNamespace(active_terms=["mine"], get_term_cfg=lambda name: term)


def try_out(monkeypatch: pytest.MonkeyPatch, reward: Any, criterion: Any, step: Any = None) -> None:
    box = gym.spaces.Box(-np.ones(1, np.float32), np.ones(1, np.float32))
    taken = step or (lambda actions: (torch.zeros(2, 1), torch.zeros(2), None, None))
    env: Any = SimpleNamespace(
        num_envs=2,
        sim_device="cpu",
        observation_space=box,
        action_space=box,
        task=Task(reward),
        reset_twice=lambda: None,
        step=taken,
    )
    monkeypatch.setattr(trial, "find_criterion", lambda task: criterion)
    trial.try_out(env, "Tilt")


GOOD, YES = torch.zeros(2), torch.tensor([True, False])


@pytest.mark.parametrize("reward", [GOOD, YES, torch.zeros(2, dtype=torch.float64)])
@pytest.mark.parametrize("criterion", [None, lambda env: YES])
def test_functions_that_return_a_value_for_each_environment_are_good(
    monkeypatch: pytest.MonkeyPatch, reward: torch.Tensor, criterion: Any
):
    try_out(monkeypatch, reward, criterion)


@pytest.mark.parametrize("value", [torch.zeros(()), torch.zeros(2, 1), torch.zeros(1), torch.zeros(1, 2), 1.0, None])
def test_a_reward_that_is_not_one_number_for_each_environment_is_refused(monkeypatch: pytest.MonkeyPatch, value: Any):
    with pytest.raises(UserError, match=r"^the reward mine should return a number for each environment, as a tensor"):
        try_out(monkeypatch, value, None)


@pytest.mark.parametrize("value", [GOOD, YES.all(), YES[:, None], True])
def test_a_criterion_that_is_not_a_bool_for_each_environment_is_refused(monkeypatch: pytest.MonkeyPatch, value: Any):
    with pytest.raises(UserError, match=r"^success_entry_point of Tilt should return a bool for each environment"):
        try_out(monkeypatch, GOOD, lambda env: value)


def test_what_fails_is_named(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match=r"^Tilt takes no step: AttributeError: .* has no attribute 'robot'"):
        try_out(monkeypatch, GOOD, lambda env: env.robot)
    with pytest.raises(UserError, match=r"^a reward of Tilt is not finite after a step"):
        try_out(monkeypatch, GOOD, None, lambda actions: (torch.zeros(2, 1), torch.full((2,), torch.nan), None, None))
    with pytest.raises(UserError, match=r"^the reward mine of Tilt is not finite after a step"):
        try_out(monkeypatch, torch.full((2,), torch.inf), None)


def test_a_wrong_shape_is_named_also_if_the_step_fails_of_it(monkeypatch: pytest.MonkeyPatch):
    def step(actions: torch.Tensor) -> None:
        raise RuntimeError("expand")

    with pytest.raises(UserError, match=r"^the reward mine should return .* \(given: torch.float32 \[2, 1\]\)"):
        try_out(monkeypatch, torch.zeros(2, 1), None, step)

"""What happens beside the training, without a simulator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from pipeline.training.callbacks import FreezeNormalization, LearningCurve, TaskStatistics
from tests.toy_env import make_env

pytestmark = pytest.mark.unit


def statistics(until: int | None) -> tuple[float, np.ndarray]:
    env: Any = VecNormalize(make_env())
    callback = FreezeNormalization(until) if until else None
    PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=1, device="cpu").learn(128, callback)
    return env.obs_rms.count, env.ret_rms.mean


def test_normalization_stops_with_the_first_rollout_that_reaches_the_given_timesteps():
    # Four environments of eight steps make 32 timesteps a rollout; the count starts at 1e-4, and with four at reset.
    assert statistics(None)[0] == pytest.approx(132, abs=1e-3)
    frozen, at_64 = statistics(64), statistics(33)
    assert frozen[0] == at_64[0] == pytest.approx(68, abs=1e-3)
    assert frozen[1] == at_64[1]


def test_the_learning_curve_has_what_is_logged_but_for_times():
    curve = LearningCurve()
    curve.write({"train/loss": np.float32(0.5), "time/fps": 3.0, "a": 1}, {"train/loss": ("stdout",)}, step=64)
    assert curve.rows == [{"timesteps": 64, "a": 1.0, "train/loss": 0.5}]
    assert list(curve.rows[0]) == ["timesteps", "a", "train/loss"]
    assert [type(value) for value in curve.rows[0].values()] == [int, float, float]


def test_the_summary_has_the_newest_value_of_each_even_if_the_last_points_lack_it():
    curve = LearningCurve()
    assert curve.summary() == {}
    curve.write({"rollout/ep_rew_mean": 1.0, "rollout/ep_len_mean": 10.0, "train/loss": 3.0}, {}, step=64)
    curve.write({"rollout/ep_rew_mean": 2.0, "rollout/ep_len_mean": 20.0}, {}, step=128)
    curve.write({"train/loss": 1.0}, {}, step=192)
    assert curve.summary() == {"timesteps": 192, "training_return": 2.0, "training_length": 20.0}


def step(statistics: TaskStatistics, ended: int, **log: float) -> None:
    """A step in which so many of four episodes end; the task reports means over them, in a tensor it uses again."""
    reported = {name: torch.tensor(value) for name, value in log.items()}
    statistics.env.task_log = reported
    statistics.locals = {"dones": torch.arange(4) < ended}
    assert statistics._on_step()
    for value in reported.values():
        value.fill_(-99.0)


def test_what_the_task_reports_is_averaged_over_the_newest_episodes_and_each_counts_once():
    logged: dict[str, float] = {}
    statistics = TaskStatistics(SimpleNamespace(), window=4)  # type: ignore[arg-type]
    statistics.model = SimpleNamespace(logger=SimpleNamespace(record=logged.__setitem__))  # type: ignore[assignment]
    statistics._on_rollout_end()
    assert logged == {}
    step(statistics, 1, reward=5.0, other=1.0)
    step(statistics, 0, reward=7.0, other=7.0)
    step(statistics, 2, reward=2.0, other=0.0)
    statistics._on_rollout_end()
    assert logged == {"task/reward": 3.0, "task/other": pytest.approx(1 / 3)}
    step(statistics, 3, reward=10.0, other=4.0)
    statistics._on_rollout_end()
    assert logged == {"task/reward": 8.0, "task/other": 3.0}
    step(statistics, 1, reward=10.0, other=4.0, later=2.0)
    statistics._on_rollout_end()
    assert logged["task/later"] == 2.0, "which the episodes before did not have"

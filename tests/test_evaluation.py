"""What an evaluation measures, against values worked out by hand from trajectories that are written down."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from isaaclab.envs.mdp import is_alive
from scipy import stats
from stable_baselines3.common import evaluation as stock
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from pipeline.evaluation.episodes import Criterion, find_criterion, play_episodes
from pipeline.evaluation.evaluate import configure, evaluate_policy
from pipeline.evaluation.statistics import summarize
from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Evaluate
from pipeline.experiment.params_file import load_params
from tests.conftest import ROOT
from tests.toy_env import Rough, TensorToy
from tests.toy_training import ResumableToy, Training
from tests.written import Step, Written, episode

pytestmark = pytest.mark.unit


def play(
    *trajectories: list[Step], episodes: int, criterion: Criterion | None = None, **settings: Any
) -> list[dict[str, Any]]:
    env: Any = Written(*trajectories, **settings)
    return play_episodes(env, lambda observations: observations, episodes, criterion)


UP = [0.0] * 6


@pytest.mark.parametrize(
    ("success", "lasted"),
    [
        (1, episode(UP)),
        (1, episode([11.9] * 6)),
        (1, episode([-11.9] * 6)),
        (0, episode([12.1] * 6)),
        (0, episode([-12.1] * 6)),
        (0, episode([180.0] * 6)),
        (1, episode([360.0 - 11.9, 360.0 + 11.9, -360.0, 720.0 + 5.0, -720.0 - 5.0, 3600.0])),
        (0, episode([360.0 - 12.1, 360.0, 360.0, 360.0 + 12.1, 360.0, 360.0])),
        (1, episode([90.0, 90.0, 0.0, 0.0, 0.0, 0.0])),
        (0, episode([0.0, 0.0, 13.0, 0.0, 0.0, 0.0])),
        (0, episode([0.0, 0.0, 0.0, 0.0, 0.0, 13.0])),
        (0, episode([0.0, 0.0, 0.0])),
        (0, episode(UP, end="terminated")),
        (0, episode(UP, end="both")),
        (0, episode([0.0, 0.0, 0.0, 0.0, 0.0, 180.0], end="terminated", cart=3.1)),
    ],
    ids=[
        *("upright", "nearly 12 degrees", "nearly -12 degrees", "more than 12 degrees", "less than -12 degrees"),
        *("hangs", "upright after turns", "too far after turns", "upright for the last second alone"),
        *("leans a second before the end", "leans in the last step", "too short for a second", "terminated"),
        *("both at once", "leaves the rail"),
    ],
)
def test_success_is_to_last_and_be_upright_within_12_degrees_through_the_last_second(success, lasted):
    assert [row["success"] for row in play(lasted, episodes=1)] == [success]


def test_what_an_episode_was_like_does_not_count_for_the_next():
    """Upright through the first episode, a pole is not yet upright for a second in the third step of the next."""
    rows = play([*episode(UP), *episode([0.0] * 3), *episode(UP)], episodes=3)
    assert [row["success"] for row in rows] == [1, 0, 1]
    assert [row["length"] for row in rows] == [6, 3, 6]
    assert [row["return"] for row in rows] == [6.0, 3.0, 6.0]


@pytest.mark.parametrize("joints", [("cart_to_pole", "slider_to_cart"), ("slider_to_cart", "cart_to_pole")])
def test_an_episodes_measures_are_those_worked_out_by_hand(joints):
    first = [Step(30, 0.5, 1.0, 3), Step(-40, -2.5, 0.5, -4), Step(0, 1.0, -2.0, 0), Step(370, 0, 0.25, 5, "time-out")]
    second = [Step(90, -0.25, 0.125, 1), Step(200, 0.125, 0.25, 1, "terminated")]
    rows = play([*first, *second], episodes=2, joints=joints)
    assert rows[0] == {
        "episode": 0,
        "environment": 0,
        "return": -0.25,
        "length": 4,
        "success": 0,
        "pole_angle_rms": pytest.approx(math.radians(math.sqrt((900 + 1600 + 0 + 100) / 4)), rel=1e-6),
        "cart_displacement_max": 2.5,
        "effort_rms": pytest.approx(math.sqrt((9 + 16 + 0 + 25) / 4)),
        "share": 0.5,
    }
    assert rows[1] == {
        "episode": 1,
        "environment": 0,
        "return": 0.375,
        "length": 2,
        "success": 0,
        "pole_angle_rms": pytest.approx(math.radians(math.sqrt((90**2 + 160**2) / 2)), rel=1e-6),
        "cart_displacement_max": 0.25,
        "effort_rms": 1.0,
        "share": 1.0,
    }


def test_every_environment_plays_its_part_however_short_its_episodes_are():
    """Seven episodes of three environments: 2, 2 and 3, in the order of the environments and then of time."""
    short, long = episode([0.0]), episode(UP)
    rows = play([*long, *short], short, [*short, *long, *long], episodes=7)
    assert [row["episode"] for row in rows] == list(range(7))
    assert [row["environment"] for row in rows] == [0, 0, 1, 1, 2, 2, 2]
    assert [row["length"] for row in rows] == [6, 1, 1, 1, 1, 6, 6]


def test_share_is_that_of_the_episodes_that_returned_no_more():
    rows = play([Step(0, reward=reward, end="time-out") for reward in (3.0, -1.0, 2.0, 7.0)], episodes=4)
    assert [row["share"] for row in rows] == [0.75, 0.25, 0.5, 1.0]
    equal = play(episode([0.0]), episodes=40)
    assert [row["share"] for row in equal] == [number / 40 for number in range(1, 41)], "in the order of the rows"


def test_a_return_is_summed_in_float64():
    (row,) = play([Step(0, reward=2.0**24), Step(0), Step(0, end="time-out")], episodes=1)
    assert row["return"] == 2**24 + 2


def test_the_policy_acts_on_the_observations_after_the_second_reset():
    env: Any = Written(episode([10.0, 20.0, 30.0]))
    play_episodes(env, lambda observations: observations * 2, 1)
    assert env.resets == 2
    assert torch.rad2deg(torch.cat(env.actions)).flatten().tolist() == pytest.approx([20.0, 40.0, 60.0])


@pytest.mark.parametrize("joints", [("cart_to_pole", "knee"), ("cart_to_pole", "slider_to_cart", "knee")])
def test_of_a_task_without_a_cartpole_and_a_criterion_it_is_said_which_episodes_lasted(joints: tuple[str, ...]):
    rows = play(episode(UP), episode(UP, end="terminated"), episode(UP, end="both"), episodes=3, joints=joints)
    assert rows[0] == {"episode": 0, "environment": 0, "return": 6.0, "length": 6, "survived": 1, "share": 1 / 3}
    assert [row["survived"] for row in rows] == [1, 0, 0]
    metrics = summarize(rows, seed=0)
    assert metrics["survival_rate"] == pytest.approx(1 / 3)
    assert not {"success_rate", "pole_angle_rms", "cart_displacement_max", "effort_rms"} & set(metrics)


def leans_left(task: Any) -> torch.Tensor:
    """A criterion that no cartpole has of itself."""
    return task.scene.articulations["robot"].data.joint_pos.torch[:, 0] < 0


@pytest.mark.parametrize(
    ("success", "lasted"),
    [
        (1, episode([-50.0] * 6)),
        (1, episode([50.0, 50.0, *[-50.0] * 4])),
        (0, episode(UP)),
        (0, episode([*[-50.0] * 5, 50.0])),
        (0, episode([-50.0] * 6, end="terminated")),
    ],
    ids=["all the time", "for the last second alone", "never", "not in the last step", "terminated"],
)
@pytest.mark.parametrize("other_joint", ["knee", "slider_to_cart"], ids=["another robot", "a cartpole"])
def test_the_criterion_of_a_task_says_what_success_is(success: int, lasted: list[Step], other_joint: str):
    rows = play(lasted, episodes=1, criterion=leans_left, joints=("cart_to_pole", other_joint))
    assert [row["success"] for row in rows] == [success]
    assert "survived" not in rows[0]
    assert ("pole_angle_rms" in rows[0]) == (other_joint == "slider_to_cart"), "a cartpole keeps its measures"
    assert summarize(rows, seed=0)["success_rate"] == success


def register(monkeypatch: pytest.MonkeyPatch, task: str, **kwargs: str) -> str:
    """Register a task until the test is over."""
    spec = EnvSpec(task, entry_point="isaaclab.envs:ManagerBasedRLEnv", kwargs=kwargs)
    monkeypatch.setitem(gym.registry, task, spec)
    return task


def test_a_task_registers_its_criterion_by_name(monkeypatch: pytest.MonkeyPatch):
    task = register(monkeypatch, "Own", success_entry_point="isaaclab.envs.mdp:is_alive")
    assert find_criterion(task) is find_criterion(f"isaaclab_tasks:{task}") is is_alive
    assert find_criterion("Isaac-Cartpole") is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("os:getcwd", "DVC would not see a change of os; "),
        ("isaaclab.envs.mdp:is_alife", "cannot be imported: AttributeError"),
        ("is_alive", "should be a function, as package.module:function"),
    ],
)
def test_a_criterion_that_dvc_would_not_see_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, sentence: str):
    task = register(monkeypatch, "Own", success_entry_point=name)
    with pytest.raises(UserError, match=r"^success_entry_point of Own") as refused:
        find_criterion(task)
    assert sentence in str(refused.value)


def test_returns_and_lengths_are_those_of_sb3s_evaluate_policy():
    """On environments that terminate, time out and do both; SB3 divides the episodes as we do, and lists by time."""
    toy, stock_toy = TensorToy(cls=Rough), VecMonitor(DummyVecEnv([Rough] * 4))
    toy.seed(3)
    stock_toy.seed(3)
    first = toy.reset()
    unwrapped = SimpleNamespace(scene=SimpleNamespace(articulations={}), step_dt=1.0, device="cpu")
    env: Any = SimpleNamespace(num_envs=4, reset_twice=lambda: first, step=toy.step, unwrapped=unwrapped, task=None)
    rows = play_episodes(env, lambda observations: torch.tanh(observations[:, 1:] / 20), 30)
    policy: Any = SimpleNamespace(predict=lambda observations, **_: (np.tanh(observations[:, 1:] / 20), None))
    returns: Any
    lengths: Any
    returns, lengths = stock.evaluate_policy(policy, stock_toy, 30, return_episode_rewards=True)
    assert sorted(row["length"] for row in rows) == sorted(lengths)
    assert sorted(row["return"] for row in rows) == pytest.approx(sorted(returns), rel=1e-5)


def test_an_evaluation_is_that_of_its_seed_whatever_was_played_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register(monkeypatch, "Toy")
    env: Any = ResumableToy()
    env.unwrapped.scene, env.unwrapped.step_dt = SimpleNamespace(articulations={}), 1.0
    env.unwrapped.device, env.reset_twice = "cpu", env.reset
    policy, settings = Training(tmp_path).policy(), Evaluate(seed=5, episodes=6, num_envs=4)
    rows, metrics = evaluate_policy(env, policy, settings)
    assert evaluate_policy(env, policy, settings) == (rows, metrics)
    assert env.unwrapped.common_step_counter == 20, "steps of the second; a curriculum begins at its beginning again"
    assert metrics == summarize(rows, seed=5) | {"policy_sha256": policy.sha256}
    assert evaluate_policy(env, policy, settings.model_copy(update={"seed": 6}))[0] != rows


def test_there_are_no_more_environments_than_episodes():
    params = load_params(ROOT / "params.yaml")
    for episodes, num_envs, made in ((12, 500, 12), (500, 8, 8)):
        settings = Evaluate(seed=5, episodes=episodes, num_envs=num_envs)
        cfg = configure(params.sim, {"episode_length_s": 0.5}, settings)
        assert (cfg.scene.num_envs, cfg.seed, cfg.episode_length_s) == (made, 5, 0.5)


def test_the_summary_is_that_of_numpy_and_scipy():
    random = np.random.default_rng(0)
    rows = [
        {
            "return": value,
            "length": int(length),
            "success": int(value > 0),
            "pole_angle_rms": angle,
            "cart_displacement_max": displacement,
            "effort_rms": effort,
        }
        for value, length, angle, displacement, effort in zip(
            random.normal(0, 3, 41), random.integers(1, 300, 41), *random.random((3, 41)), strict=True
        )
    ]
    returns, lengths, angles, efforts = (
        np.array([row[name] for row in rows]) for name in ("return", "length", "pole_angle_rms", "effort_rms")
    )
    interval = stats.bootstrap((returns,), np.mean, method="percentile", n_resamples=2000, batch=100, rng=5)
    assert summarize(rows, seed=5) == pytest.approx(
        {
            "return_mean": sum(returns) / 41,
            "return_std": math.sqrt(sum((returns - sum(returns) / 41) ** 2) / 41),
            "return_iqm": np.sort(returns)[10:31].mean(),
            "return_low": interval.confidence_interval.low,
            "return_high": interval.confidence_interval.high,
            "length_mean": sum(lengths) / 41,
            "success_rate": sum(returns > 0) / 41,
            "pole_angle_rms": math.sqrt(sum(angles**2 * lengths) / sum(lengths)),
            "cart_displacement_max": max(row["cart_displacement_max"] for row in rows),
            "effort_rms": math.sqrt(sum(efforts**2 * lengths) / sum(lengths)),
        }
    )

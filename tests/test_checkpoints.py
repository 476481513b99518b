"""Checkpoints: when, what is in them, and that a training which goes on from one ends as one that ran through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from stable_baselines3.common.callbacks import LogEveryNTimesteps
from stable_baselines3.common.logger import Logger

from pipeline import interruption
from pipeline.callbacks import LearningCurve, TaskStatistics
from pipeline.checkpoints import Checkpoints
from pipeline.normalize import TensorNormalize
from pipeline.policy import FILES, Policy
from pipeline.ppo import TensorPPO
from pipeline.resume import OPTIMIZER, PROGRESS, Progress, start_afresh
from pipeline.store import Store
from tests.toy import TensorToy

pytestmark = pytest.mark.unit

SETTINGS: dict[str, Any] = {"policy": "MlpPolicy", "n_steps": 8, "batch_size": 16, "n_epochs": 2}
ROLLOUT = 4 * 8  # timesteps
UPDATES = 2 * 2  # optimizer steps of a rollout: two mini-batches, two epochs


class ResumableToy(TensorToy):
    """A toy that draws all from one seed, as Isaac Lab does, and says what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []
        self.task_log = {"reward": torch.tensor(1.5)}
        task: Any = self.unwrapped
        task.common_step_counter = 0
        task.termination_manager = SimpleNamespace(_last_episode_dones=torch.ones(4, 2))

    def seed(self, seed: int | None = None) -> Any:
        self.done.append(("seed", seed))
        assert seed is not None
        torch.manual_seed(seed)
        for number, env in enumerate(self.unwrapped.envs):  # type: ignore[attr-defined]
            env.np_random = np.random.default_rng(seed + number)

    def reset(self) -> Any:
        self.done.append("reset")
        self.returns[:], self.lengths[:] = 0, 0
        return super().reset()

    def scatter_ages(self) -> None:
        self.done.append("scatter")

    def step_wait(self) -> Any:
        task: Any = self.unwrapped
        task.common_step_counter += 1
        return super().step_wait()


class Training:
    """PPO on toys with all that surrounds it, and checkpoints in ``folder``."""

    def __init__(self, folder: Path, every: int | None = ROLLOUT) -> None:
        self.toy = ResumableToy()
        self.folder = folder
        env: Any = TensorNormalize(self.toy)  # type: ignore[arg-type]
        arguments: dict[str, Any] = SETTINGS | {"env": env, "learning_rate": 0.01, "stats_window_size": 5}
        self.model: Any = TensorPPO(**arguments, seed=3, device="cpu")
        self.curve, self.logging = LearningCurve(), LogEveryNTimesteps(48)
        self.task = TaskStatistics(self.toy, 5)  # type: ignore[arg-type]
        self.model.set_logger(Logger(None, [self.curve]))
        self.progress = Progress(self.model, self.curve, self.logging, self.task)
        self.store = Store(folder, {}, FILES)
        self.saver = Checkpoints(folder / "models", every, "Toy", SETTINGS, self.store, self.progress)

    def learn(self, timesteps: int) -> Training:
        self.saver.begin()
        remaining = timesteps - self.model.num_timesteps
        callbacks: Any = [self.saver, self.logging, self.task]
        self.model.learn(remaining, callbacks, log_interval=None, reset_num_timesteps=False)
        return self

    def saved(self) -> list[int]:
        return sorted(int(path.name) for path in (self.folder / "models").iterdir())


@pytest.mark.parametrize(
    ("every", "expected"),
    [(ROLLOUT, [32, 64, 96, 128]), (33, [64, 96, 128]), (50, [64, 128]), (64, [64, 128]), (100, [128]), (None, [])],
)
def test_the_first_rollout_that_starts_past_a_multiple_saves(tmp_path: Path, every: int | None, expected: list[int]):
    # Rollouts start at 0, 32, 64, 96, 128; the end at 160 is the policy itself.
    assert Training(tmp_path, every).learn(160).saved() == expected


def test_a_checkpoint_is_the_policy_of_that_moment(tmp_path: Path):
    training = Training(tmp_path).learn(64)
    policy = Policy.load(tmp_path / "models" / "32")
    assert (policy.task, policy.timesteps, policy.agent, policy.seed) == ("Toy", 32, SETTINGS, 3)
    assert policy.normalization
    assert policy.normalization.rewards
    assert policy.normalization.rewards.count == pytest.approx(32, abs=1e-3)
    files = training.store.read(32)
    assert files == policy.files | {name: files[name] for name in (OPTIMIZER, PROGRESS)}


def test_what_a_training_that_goes_on_needs_is_in_the_checkpoint(tmp_path: Path):
    training = Training(tmp_path).learn(4 * ROLLOUT)
    files = training.store.read(3 * ROLLOUT)
    values = json.loads(files[PROGRESS])
    assert values["updates"] == 3 * 2  # epochs, as SB3 counts
    assert values["steps_of_the_task"] == 3 * 8
    assert values["normalization_learns"] is True
    assert values["episodes"] == []  # all start afresh every 8 steps, and take ten
    # 48 timesteps after 0, and 48 after that.
    assert [row["timesteps"] for row in values["curve"]] == [48, 96]
    assert values["last_point"] == 96
    # The update at 96 came after the point at 96.
    assert values["next_point"]["train/n_updates"] == 6
    assert values["not_in_next_point"]["train/n_updates"] == ["tensorboard"]
    steps = [tensor for name, tensor in safetensors.torch.load(files[OPTIMIZER]).items() if name.endswith(".step")]
    assert len(steps) == len(list(training.model.policy.parameters()))
    assert {int(step) for step in steps} == {3 * UPDATES}


def test_all_of_it_is_put_back(tmp_path: Path):
    first, second = Training(tmp_path / "1", every=None).learn(3 * ROLLOUT), Training(tmp_path / "2")
    first.model.env.training = False
    first.task.episodes.extend({"reward": float(number)} for number in range(5))
    first.curve.rows.append({"timesteps": 97, "z": 1.0, "a": 2.0})
    first.model.logger.record("rollout/other", 7.5, exclude=("stdout", "csv"))
    policy = first.saver.policy()
    second.progress.restore(policy, policy.files | first.progress.files())
    model = second.model
    assert all(torch.equal(weights, policy.weights[name]) for name, weights in model.policy.state_dict().items())
    mine, theirs = (each.model.policy.optimizer.state_dict()["state"] for each in (second, first))
    assert mine.keys() == theirs.keys()
    for number, state in theirs.items():
        assert state.keys() == mine[number].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(mine[number][name], tensor) for name, tensor in state.items())
        assert int(mine[number]["step"]) == 3 * UPDATES
    assert (model.num_timesteps, model._n_updates) == (96, 6)
    assert second.toy.unwrapped.common_step_counter == 3 * 8  # type: ignore[attr-defined]
    assert model.env.training is False
    # 24 steps are two episodes of ten in each of four environments; SB3's window has five.
    assert [episode["l"] for episode in model.ep_info_buffer] == [10.0] * 5
    assert model.ep_info_buffer == first.model.ep_info_buffer
    assert model.ep_info_buffer.maxlen == 5
    assert [episode["reward"] for episode in second.task.episodes] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert second.task.episodes.maxlen == 5
    assert second.curve.rows == first.curve.rows
    assert next(iter(second.curve.rows[-1])) == "timesteps"
    assert second.logging.last_time_trigger == 96
    assert model.logger.name_to_value["rollout/other"] == 7.5
    assert model.logger.name_to_excluded["rollout/other"] == ("stdout", "csv")
    for name in ("obs_rms", "ret_rms"):
        for moment in ("mean", "var", "count"):
            own, other = (getattr(getattr(each.model.env, name), moment) for each in (second, first))
            assert torch.equal(own, other)
            assert own.dtype == torch.float64


def test_a_training_starts_afresh_from_its_seed_and_its_timesteps_alone(tmp_path: Path):
    training = Training(tmp_path)
    model, toy = training.model, training.toy
    model.num_timesteps = 512
    toy.done.clear()
    start_afresh(model)
    expected = int(np.random.SeedSequence([3, 512]).generate_state(1)[0]) // 2
    assert toy.done == [("seed", expected), "reset", "scatter"]
    assert not toy.unwrapped.termination_manager._last_episode_dones.any()  # type: ignore[attr-defined]
    first = model.env.old_obs.clone()
    model.env.venv.reset()
    start_afresh(model)
    assert torch.equal(model.env.old_obs, first)
    torch.testing.assert_close(model._last_obs, model.env.normalize_obs(first))
    seeds = []
    for seed, timesteps in ((3, 512), (3, 1024), (4, 512), (None, 512)):
        model.seed, model.num_timesteps = seed, timesteps
        start_afresh(model)
        seeds += [value for kind, value in filter(lambda done: done[0] == "seed", toy.done)][-1:]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


def ended(training: Training) -> list[Any]:
    """All that a training leaves behind."""
    env = training.model.env
    return [training.saver.policy().files, env.ret_rms.count.item(), training.curve.rows, training.saved()]


@pytest.mark.parametrize("stops", [[40], [100], [70, 130]], ids=str)
def test_a_training_that_goes_on_ends_as_one_that_ran_through(tmp_path: Path, capsys, stops: Sequence[int]):
    whole = Training(tmp_path / "whole").learn(192)
    for stop in stops:
        Training(tmp_path / "stopped").learn(stop)
    stopped = Training(tmp_path / "stopped").learn(192)
    newest = (stops[-1] - 1) // ROLLOUT * ROLLOUT
    assert f"train: goes on from the checkpoint at {newest} timesteps" in capsys.readouterr().out
    assert ended(stopped) == ended(whole)


def test_a_damaged_checkpoint_is_said_to_be_and_the_policies_before_it_are_outputs_again(tmp_path: Path, capsys):
    first = Training(tmp_path).learn(160)
    policies = {number: Policy.load(tmp_path / "models" / str(number)).sha256 for number in (32, 64, 96)}
    (first.store.folder / "128" / OPTIMIZER).write_bytes(b"damaged")
    second = Training(tmp_path)
    second.saver.folder = tmp_path / "again"
    second.saver.begin()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train: the checkpoint at 128 timesteps is damaged, and is not used"
    assert said[1] == "train: goes on from the checkpoint at 96 timesteps"
    assert (second.saver.newest, second.model.num_timesteps) == (96, 96)
    assert {number: Policy.load(tmp_path / "again" / str(number)).sha256 for number in (32, 64, 96)} == policies
    assert len(list((tmp_path / "again").iterdir())) == 3


def test_a_signal_ends_the_training_at_its_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    training = Training(tmp_path)
    training.saver.begin()
    monkeypatch.setattr(interruption, "_signals", [15])
    with pytest.raises(KeyboardInterrupt):
        training.model.learn(64, [training.saver])
    assert training.model.num_timesteps == 4


def test_a_training_without_checkpoints_begins_at_the_beginning_after_isaac_labs_first_reset(tmp_path: Path, capsys):
    training = Training(tmp_path)
    training.saver.begin()
    assert capsys.readouterr().out == ""
    assert (training.saver.newest, training.model.num_timesteps) == (0, 0)
    assert [done for done in training.toy.done if done[0] != "seed"] == ["reset", "reset", "scatter"]
    assert list((tmp_path / "models").iterdir()) == []

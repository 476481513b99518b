"""Checkpoints: when, what is in them, and that a training which goes on from one ends as one that ran through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiment import interruption
from pipeline.policy.policy import Policy
from pipeline.training.training_state import OPTIMIZER, PROGRESS
from tests.toy_training import ROLLOUT, SETTINGS, Training

pytestmark = pytest.mark.unit


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


def ended(training: Training) -> list[Any]:
    """All that a training leaves behind."""
    env = training.model.env
    return [training.policy().files, env.ret_rms.count.item(), training.curve.rows, training.saved()]


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

"""Checkpoints: when, what is in them, and that a training which goes on from one ends as one that ran through."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiment import interruption
from pipeline.experiment.errors import UserError
from pipeline.experiment.resume_store import ResumeStore
from pipeline.policy.policy import FILES, Policy
from pipeline.training.optimizer_state import OPTIMIZER_FILE
from pipeline.training.training_state import PROGRESS
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
    assert files == policy.files | {name: files[name] for name in (OPTIMIZER_FILE, PROGRESS)}


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
    (first.store.folder / "128" / OPTIMIZER_FILE).write_bytes(b"damaged")
    second = Training(tmp_path)
    second.saver.folder = tmp_path / "again"
    second.saver.begin(160)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train: the checkpoint at 128 timesteps is damaged, and is not used"
    assert said[1] == "train: goes on from the checkpoint at 96 timesteps"
    assert (second.saver.newest, second.model.num_timesteps) == (96, 96)
    assert {number: Policy.load(tmp_path / "again" / str(number)).sha256 for number in (32, 64, 96)} == policies
    assert len(list((tmp_path / "again").iterdir())) == 3


def rename(store: ResumeStore) -> None:
    """A checkpoint that claims more timesteps than the training has, by its folder's name alone."""
    (store.folder / "128").rename(store.folder / "1000000000")


def forge(store: ResumeStore, timesteps: int = 1_000_000_000) -> None:
    """The same with digests that agree."""
    policy = Policy.load(store.checkpoint(128)).model_copy(update={"timesteps": timesteps})
    store.save(timesteps, store.read(128) | policy.files)


def replace_by(make: Callable[[Path], Any]) -> Callable[[ResumeStore], None]:
    """Something else in the place of the newest checkpoint."""

    def replace(store: ResumeStore) -> None:
        shutil.rmtree(store.checkpoint(128))
        make(store.checkpoint(128))

    return replace


@pytest.mark.parametrize(
    ("damage", "goes_on_from"),
    [
        (rename, 96),
        (forge, 128),
        (lambda store: store.save(128, store.read(128) | store.read(96)), 96),  # of other timesteps
        (lambda store: store.save(128, {name: store.read(128)[name] for name in FILES}), 96),
        (lambda store: shutil.rmtree(store.checkpoint(64)), 0),  # an output that the training would lack
        (replace_by(Path.touch), 96),
        (replace_by(Path.mkdir), 96),
        (replace_by(lambda path: path.symlink_to("nowhere")), 96),
        (replace_by(os.mkfifo), 96),
    ],
    ids=["renamed", "beyond the end", "of another moment", "without state", "gap", "file", "empty", "dangling", "FIFO"],
)
def test_what_is_no_checkpoint_of_the_training_is_said_to_be_and_the_end_is_as_ever(
    tmp_path: Path, capsys, damage: Callable[[ResumeStore], None], goes_on_from: int
):
    whole = Training(tmp_path / "whole").learn(192)
    damage(Training(tmp_path / "stopped").learn(160).store)
    again = Training(tmp_path / "stopped").learn(192)
    said = capsys.readouterr().out
    assert said.count("timesteps is damaged, and is not used\n") == 1
    assert (f"goes on from the checkpoint at {goes_on_from} " in said) == bool(goes_on_from)
    assert ended(again) == ended(whole)


def test_a_whole_checkpoint_that_cannot_be_of_the_training_is_one_sentence(tmp_path: Path):
    store = Training(tmp_path).learn(160).store
    store.save(128, store.read(128) | {PROGRESS: b"{}"})
    with pytest.raises(
        UserError, match=r"128 is no checkpoint of this training \('updates'\); delete .*, and run the s"
    ):
        Training(tmp_path).saver.begin(192)


def test_a_signal_ends_the_training_at_its_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    training = Training(tmp_path)
    training.saver.begin(64)
    monkeypatch.setattr(interruption, "_signals", [15])
    with pytest.raises(KeyboardInterrupt):
        training.model.learn(64, [training.saver])
    assert training.model.num_timesteps == 4


def test_a_training_without_checkpoints_begins_at_the_beginning_after_isaac_labs_first_reset(tmp_path: Path, capsys):
    training = Training(tmp_path)
    training.saver.begin(64)
    assert capsys.readouterr().out == ""
    assert (training.saver.newest, training.model.num_timesteps) == (0, 0)
    assert [done for done in training.toy.done if done[0] != "seed"] == ["reset", "reset", "scatter"]
    assert list((tmp_path / "models").iterdir()) == []

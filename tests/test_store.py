"""The store of checkpoints: whole or not used, one run at a time, bounded."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest

from pipeline import store as module
from pipeline.errors import UserError
from pipeline.store import SUMS, Store, forget_recorded

pytestmark = pytest.mark.unit

FILES = {"policy.json": b"a policy", "progress.json": b"all else"}


def open_store(folder: Path, seed: int = 1) -> Store:
    return Store(folder, {"seed": seed}, ["policy.json"])


def stop(folder: Path, seed: int) -> None:
    """A run that is stopped after its first checkpoint."""
    with contextlib.suppress(KeyboardInterrupt), open_store(folder, seed) as store:
        store.save(512, FILES)
        raise KeyboardInterrupt


@pytest.fixture
def filled(tmp_path):
    with open_store(tmp_path) as store:
        for timesteps in (512, 1024, 2048):
            store.save(timesteps, FILES)
        yield store


def test_of_older_checkpoints_only_the_policy_stays(filled):
    assert filled.usable() == [512, 1024, 2048]
    assert filled.read(2048) == FILES
    assert filled.read(512) == {"policy.json": b"a policy"}


@pytest.mark.parametrize("name", ["progress.json", "policy.json", SUMS])
@pytest.mark.parametrize("damage", [b"", b"a policX", None], ids=["emptied", "changed", "missing"])
def test_a_damaged_checkpoint_is_not_used(filled, name, damage):
    path = filled.folder / "2048" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert filled.usable() == [512, 1024]
    filled.save(2048, FILES)
    assert filled.usable() == [512, 1024, 2048]


def test_after_a_damaged_policy_which_is_an_output_nothing_is_used(filled):
    (filled.folder / "512" / "policy.json").write_bytes(b"a policX")
    assert filled.usable() == []


def test_another_experiment_has_no_part_in_it(filled, tmp_path):
    with open_store(tmp_path, seed=2) as other:
        assert other.usable() == []
    assert filled.usable() == [512, 1024, 2048]


def test_checkpoints_stay_until_dvc_has_recorded_the_policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    policy = tmp_path / "policy.safetensors"
    policy.write_bytes(b"weights")
    stop(tmp_path, seed=1)
    with open_store(tmp_path) as store:
        store.finish(policy)
    lock = tmp_path / "dvc.lock"
    for recorded, left in ((None, [512]), ("md5: another's", [512]), (hashlib.md5(b"weights").hexdigest(), [])):
        if recorded:
            lock.write_text(recorded)
        forget_recorded(tmp_path)
        assert open_store(tmp_path).usable() == left


def test_a_second_run_of_one_experiment_is_refused(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with pytest.raises(UserError, match="this very experiment is running elsewhere"):
        open_store(tmp_path).__enter__()


def test_the_oldest_abandoned_experiments_are_deleted_and_none_that_runs(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EXPERIMENTS", 1)
    for seed in (2, 3, 4):
        stop(tmp_path, seed)
    assert filled.usable() == [512, 1024, 2048], "it is locked"
    assert [open_store(tmp_path, seed).usable() for seed in (2, 3, 4)] == [[], [512], [512]]

"""The store of checkpoints: whole or not used, one run at a time, bounded."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from pathlib import Path

import pytest

from pipeline.experiment import resume_store as module
from pipeline.experiment.errors import UserError
from pipeline.experiment.resume_store import SUMS, ResumeStore, forget_recorded

pytestmark = pytest.mark.unit

FILES = {"policy.json": b"a policy", "progress.json": b"all else"}


def open_store(folder: Path, seed: int = 1) -> ResumeStore:
    return ResumeStore(folder, {"seed": seed}, ["policy.json"])


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


def test_an_identity_is_the_same_in_any_order(tmp_path):
    first, second = ({"seed": 1, "device": "cpu"}, {"device": "cpu", "seed": 1})
    assert ResumeStore(tmp_path, first, []).folder == ResumeStore(tmp_path, second, []).folder


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


def test_only_what_dvc_has_recorded_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2, 3):
        stop(tmp_path, seed)
        if seed != 3:
            with open_store(tmp_path, seed) as store:
                (tmp_path / "policy").write_bytes(b"of %d" % seed)
                store.finish(tmp_path / "policy")
    (tmp_path / "dvc.lock").write_text(f"md5: {hashlib.md5(b'of 2').hexdigest()}\n")
    with open_store(tmp_path, seed=2):
        forget_recorded(tmp_path)
    assert open_store(tmp_path, seed=2).usable() == [512], "it is running"
    forget_recorded(tmp_path)
    assert [open_store(tmp_path, seed).usable() for seed in (1, 2, 3)] == [[512], [], [512]]


def test_a_checkpoint_that_was_being_written_is_not_used(filled, monkeypatch):
    write = module.write_atomically

    def write_policy_alone(path: Path, content: bytes) -> None:
        if path.name == "progress.json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(module, "write_atomically", write_policy_alone)
    for timesteps in (4096, 2048):
        with pytest.raises(KeyboardInterrupt):
            filled.save(timesteps, {"policy.json": b"another", "progress.json": b"as well"})
    assert filled.usable() == [512, 1024]
    assert filled.newest() == 4096


def test_the_newest_two_checkpoints_are_whole_and_sha256sum_finds_them_so(filled):
    assert [filled.read(timesteps) == FILES for timesteps in (512, 1024, 2048)] == [False, True, True]
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=filled.folder / "2048", check=True)
    assert {path.name for path in (filled.folder / "2048").iterdir()} == {*FILES, SUMS}
    assert sorted(path.name for path in (filled.folder / "512").iterdir()) == [SUMS, "policy.json"]


def test_a_second_run_of_one_experiment_is_refused(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    with pytest.raises(UserError, match="this very experiment is running elsewhere"):
        open_store(tmp_path).__enter__()


def test_the_oldest_abandoned_experiments_are_deleted_and_none_that_runs(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EXPERIMENTS", 1)
    for seed in (2, 3, 4):
        stop(tmp_path, seed)
    assert filled.usable() == [512, 1024, 2048], "it is locked"
    assert [open_store(tmp_path, seed).usable() for seed in (2, 3, 4)] == [[], [512], [512]]

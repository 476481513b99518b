"""The store of checkpoints: whole or not used, one run at a time, bounded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from pipeline.experiment import resume_store as module
from pipeline.experiment.errors import UserError
from pipeline.experiment.resume_store import FINISHED, SUMS, ResumeStore, forget_recorded

pytestmark = pytest.mark.unit

FILES = {"policy.json": b"a policy", "progress.json": b"all else"}
POLICY = {"policy.json": b"a policy"}


def open_store(folder: Path, seed: int = 1) -> ResumeStore:
    return ResumeStore(folder, {"seed": seed}, ["policy.json"])


def kept(store: ResumeStore) -> dict[int, dict[str, bytes]]:
    """What the store has of each checkpoint, of those that it has anything of."""
    read = {timesteps: store.read(timesteps) for timesteps in (512, 1024, 2048, 4096)}
    return {timesteps: files for timesteps, files in read.items() if files}


WHOLE = {512: POLICY, 1024: FILES, 2048: FILES}


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
    assert kept(filled) == WHOLE


@pytest.mark.parametrize("name", ["progress.json", "policy.json", SUMS])
@pytest.mark.parametrize("damage", [b"", b"a policX", b"\xff", None], ids=["emptied", "changed", "no text", "missing"])
def test_a_damaged_file_is_not_read_and_can_be_written_again(filled, name, damage):
    path = filled.folder / "2048" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert filled.read(2048) == ({} if name == SUMS else {key: FILES[key] for key in FILES if key != name})
    filled.save(2048, FILES)
    assert kept(filled) == WHOLE


@pytest.mark.parametrize("kind", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
@pytest.mark.parametrize("name", ["progress.json", SUMS])
def test_what_is_no_file_is_not_read(filled, name, kind):
    path = filled.folder / "2048" / name
    path.unlink()
    kind(path)
    assert filled.read(2048) == ({} if name == SUMS else POLICY)


def test_what_this_user_may_not_read_is_not_read(filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert filled.read(2048) == {}
    forget_recorded(tmp_path)


def test_what_is_not_used_is_set_aside_and_what_is_not_a_checkpoint_is_left_alone(filled):
    others = ["12288.bak", "0512", "\u0665", "x", "-1"]
    for name in others:
        (filled.folder / name).mkdir()
    (filled.folder / "9").symlink_to("nowhere")
    (filled.folder / "1").touch()
    assert filled.set_aside([512, 1024]) == [1, 9, 2048]
    filled.save(2048, FILES)
    assert kept(filled) == WHOLE
    left = {path.name for path in filled.folder.iterdir()} - {"512", "1024", "2048"} - set(others)
    assert sorted(name.rpartition(".")[0] for name in left) == ["1.damaged", "2048.damaged", "9.damaged"]


def test_another_experiment_has_no_part_in_it(filled, tmp_path):
    with open_store(tmp_path, seed=2) as other:
        assert kept(other) == {}
    assert kept(filled) == WHOLE


def test_checkpoints_stay_until_dvc_has_recorded_the_policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    policy = tmp_path / "policy.safetensors"
    policy.write_bytes(b"weights")
    stop(tmp_path, seed=1)
    with open_store(tmp_path) as store:
        store.finish(policy)
    lock = tmp_path / "dvc.lock"
    for recorded, left in (
        (None, {512: FILES}),
        ("md5: another's", {512: FILES}),
        (hashlib.md5(b"weights").hexdigest(), {}),
    ):
        if recorded:
            lock.write_text(recorded)
        forget_recorded(tmp_path)
        assert kept(open_store(tmp_path)) == left


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
    assert kept(open_store(tmp_path, seed=2)) == {512: FILES}, "it is running"
    forget_recorded(tmp_path)
    assert [list(kept(open_store(tmp_path, seed))) for seed in (1, 2, 3)] == [[512], [], [512]]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"m", None], ids=["empty", "no text", "no digest", "folder"])
def test_a_note_of_the_end_that_is_damaged_deletes_nothing(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_bytes(b"md5: \xff\xfe\n")
    stop(tmp_path, seed=1)
    finished = open_store(tmp_path).folder / FINISHED
    finished.mkdir() if content is None else finished.write_bytes(content)
    forget_recorded(tmp_path)
    assert kept(open_store(tmp_path)) == {512: FILES}


def test_a_folder_of_another_name_is_not_deleted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "EXPERIMENTS", 1)
    digest = hashlib.md5(b"weights").hexdigest()
    (tmp_path / "dvc.lock").write_text(digest)
    (tmp_path / ".resume" / "my copy").mkdir(parents=True)
    (tmp_path / ".resume" / "my copy" / FINISHED).write_text(digest)
    forget_recorded(tmp_path)
    for seed in (1, 2, 3):
        stop(tmp_path, seed)
    assert (tmp_path / ".resume" / "my copy" / FINISHED).exists()


@pytest.mark.parametrize("where", [".resume", "folder", "lock"])
def test_what_stands_in_the_place_of_the_store_is_one_sentence(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    store = open_store(tmp_path)
    path = {".resume": store.root, "folder": store.folder, "lock": store.folder.with_suffix(".lock")}[where]
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if where == "lock" else path.touch()
    forget_recorded(tmp_path)
    with pytest.raises(UserError, match=r"cannot be written: .*; mend that, and run the same again"), store:
        pass


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
    assert kept(filled) == {512: POLICY, 1024: FILES}
    assert filled.set_aside([512, 1024]) == [2048, 4096]


def test_the_newest_two_checkpoints_are_whole_and_sha256sum_finds_them_so(filled):
    assert kept(filled) == WHOLE
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
    assert kept(filled) == WHOLE, "it is locked"
    assert [list(kept(open_store(tmp_path, seed))) for seed in (2, 3, 4)] == [[], [512], [512]]

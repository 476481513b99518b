"""What must hold before the simulator starts, on machines of every kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pipeline.experiment import preflight
from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Sim
from pipeline.experiment.params_file import load_params
from tests.conftest import ROOT

pytestmark = pytest.mark.unit


def sim(**changes: object) -> Sim:
    return load_params(ROOT / "params.yaml").sim.model_copy(update=changes)


@pytest.mark.parametrize(("device", "count"), [("cpu", 0), ("cuda", 1), ("cuda:0", 1), ("cuda:1", 2)])
def test_a_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch, device: str, count: int):
    monkeypatch.setattr(preflight, "cuda_device_count", lambda: count)
    preflight.check_device(sim(device=device))


@pytest.mark.parametrize(("device", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2), ("cuda:1", 1)])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, device: str, count: int):
    monkeypatch.setattr(preflight, "cuda_device_count", lambda: count)
    with pytest.raises(UserError, match=f"{device} was asked for, and this machine has {count} CUDA devices"):
        preflight.check_device(sim(device=device))


def test_a_machine_without_the_driver_has_no_cuda_device(monkeypatch: pytest.MonkeyPatch):
    def fail(_: str) -> None:
        raise OSError

    monkeypatch.setattr(preflight.ctypes, "CDLL", fail)
    assert preflight.cuda_device_count() == 0


@pytest.mark.parametrize(
    ("flags", "missing"), [("fpu avx2 fma", ""), ("avx2 fpu", "fma"), ("avx fma", "avx2"), ("avx512f", "avx2 and fma")]
)
def test_only_a_processor_with_avx2_and_fma_will_do(monkeypatch, tmp_path: Path, flags: str, missing: str):
    second = "processor : 1\nflags : avx2 fma\n"
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t: {flags}\n\n{second}")
    monkeypatch.setattr(preflight, "CPUINFO", tmp_path / "cpuinfo")
    if missing:
        with pytest.raises(UserError, match=f"this processor lacks {missing}, without"):
            preflight.check_processor()
    else:
        preflight.check_processor()


@pytest.mark.parametrize("physics", ["physx", "ovphysx", "isaacsim_physx", "newton_mjwarp"])
def test_only_physx_without_kit_wants_the_system_libraries(monkeypatch: pytest.MonkeyPatch, physics: str):
    monkeypatch.setattr(preflight, "LIBRARIES", ("libc.so.6", "libNowhere.so.1"))
    if physics in ("physx", "ovphysx"):
        with pytest.raises(UserError, match=r"^PhysX needs the system libraries libNowhere\.so\.1; on Debian"):
            preflight.check_libraries(sim(physics=physics))
    else:
        preflight.check_libraries(sim(physics=physics))


@pytest.mark.parametrize(
    "allowed",
    [
        {"frontend": "warp", "physics": "newton_mjwarp"},
        {"frontend": "warp", "physics": "newton_kamino", "deterministic": False},
        {"physics": "newton_kamino", "deterministic": False},
        {"physics": "ovphysx"},
    ],
    ids=str,
)
def test_physics_that_can_run_is_not_refused(allowed):
    preflight.check_physics(sim(**allowed))


def test_physics_that_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="warp is for Newton"):
        preflight.check_physics(sim(frontend="warp", physics="ovphysx"))
    with pytest.raises(UserError, match="newton_kamino has no deterministic mode"):
        preflight.check_physics(sim(physics="newton_kamino"))
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None if name == "isaacsim" else object())
    with pytest.raises(UserError, match="isaacsim_physx needs Isaac Sim"):
        preflight.check_physics(sim(physics="isaacsim_physx"))
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: object())
    preflight.check_physics(sim(physics="isaacsim_physx"))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a Git repository without a commit."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    return tmp_path


def test_a_repository_of_another_user_is_refused_with_gits_remedy(repository, monkeypatch: pytest.MonkeyPatch):
    preflight.check_git()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match=r"^Git cannot read .*: git config --global --add safe.directory"):
        preflight.check_git()


@pytest.mark.parametrize("lacks", [".git", "git"])
def test_a_folder_without_git_is_fine(repository: Path, monkeypatch: pytest.MonkeyPatch, lacks: str):
    if lacks == "git":
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        shutil.rmtree(repository / ".git")
    preflight.check_git()


@pytest.mark.parametrize(
    "kind", [Path.touch, lambda path: path.symlink_to("nowhere"), None], ids=["file", "link", "rights"]
)
@pytest.mark.parametrize("name", ["logs", ".resume", "models", "metrics", "videos"])
def test_a_folder_of_the_project_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch, name: str, kind):
    monkeypatch.chdir(tmp_path)
    preflight.check_folders()
    assert not list(tmp_path.iterdir())
    if kind:
        kind(tmp_path / name)
    else:
        (tmp_path / name).mkdir()
        monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / name)
    with pytest.raises(
        UserError, match=rf"^this user cannot write to {tmp_path}/{name}; see `ls -ld`, or work in a copy"
    ):
        preflight.check_folders()


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "{x}", "a}"])
def test_a_path_that_usd_or_dvc_fails_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    for path in (tmp_path / "a b'\"$é#%", tmp_path / name):
        path.mkdir()
    monkeypatch.chdir(tmp_path / "a b'\"$é#%")
    preflight.check_folders()
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(UserError, match=r"has a character that USD or DVC fails on .*; move it$") as refused:
        preflight.check_folders()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("variable", ["WARP_CACHE_PATH", "XDG_CACHE_HOME", "HOME"])
def test_a_cache_of_kernels_that_cannot_be_written_is_named_with_the_variable(
    tmp_path: Path, monkeypatch, variable: str
):
    monkeypatch.chdir(tmp_path)
    for name in ("WARP_CACHE_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"^this user cannot write to .*/file.*compiled kernels; set WARP_CACHE_PATH"):
        preflight.check_folders()
    monkeypatch.setenv("WARP_CACHE_PATH", str(tmp_path / "kernels"))
    preflight.check_folders()


def test_a_machine_without_room_for_temporary_files_is_told_of_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    with pytest.raises(UserError, match="set TMPDIR to one that can be written"):
        preflight.check_folders()


def test_without_git_no_file_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setenv("PATH", str(tmp_path))
    preflight.note_new_files(tmp_path)
    assert capsys.readouterr().out == ""


def test_git_sees_a_change_within_the_second_of_its_index(tmp_path: Path):
    """As after `dvc exp run`, where the file has the size that it had."""

    def git(*words: str) -> str:
        command = ["git", "-c", "core.trustctime=false", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    file = tmp_path / "params.yaml"
    file.write_text("seed: 3\n")
    git("init", "--quiet")
    os.utime(file, (1e9, 1e9))
    git("add", "params.yaml")
    file.write_text("seed: x\n")
    os.utime(file, (1e9, 1e9 + 0.5))
    assert not git("diff", "--name-only")
    preflight.let_git_see(file)
    assert git("diff", "--name-only") == "params.yaml\n"

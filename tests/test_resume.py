"""Training that is stopped, through every door: it goes on, and ends with the dvc.lock of one that was not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import Project, copy_project, wait_until
from tests.faults import LONG, checkpoints, go_on, has_checkpoints, runs, stop_when, went_on_from

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the check has run: what it has started is not started again, in each of the tests."""
    project = copy_project(tmp_path_factory.mktemp("checked") / "clone", LONG)
    project.run("dvc", "repro", "check")
    (project.folder / "dvc.lock").unlink()
    return project.folder


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory, checked: Path) -> dict[str, Any]:
    """The dvc.lock of a pipeline that nobody stopped, by its stages."""
    project = Project(shutil.copytree(checked, tmp_path_factory.mktemp("never_stopped") / "clone"))
    project.run("dvc", "repro")
    return stages((project.folder / "dvc.lock").read_text())


@pytest.fixture
def stopped(tmp_path: Path, checked: Path) -> Project:
    return Project(shutil.copytree(checked, tmp_path / "clone"))


def stages(lock: str) -> dict[str, Any]:
    return YAML(typ="safe").load(lock)["stages"]


@pytest.mark.night
@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM to dvc", "SIGTERM to the stage"])
def test_what_was_asked_to_stop_goes_on(stopped: Project, never_stopped, way):
    stop_when(stopped, lambda: has_checkpoints(stopped, 2), way, "dvc", "repro", "train")
    stopped.run("dvc", "repro", "train")
    assert went_on_from(stopped) >= 4096
    assert stages((stopped.folder / "dvc.lock").read_text())["train"] == never_stopped["train"]


# The stage, what it has noted in its run.json when it is stopped, how many checkpoints it has made, and the way.
STOPS = [
    ("train", "device", 0, "SIGKILL to the stage"),  # the simulator starts, which takes seconds
    ("train", "resumed_from", 1, "SIGTERM to dvc"),
    ("train", "resumed_from", 1, "SIGKILL to dvc"),
    ("evaluate", "device", 0, "SIGKILL to both"),
    ("render", "device", 0, "Ctrl-C"),
]


def test_repro_stopped_in_every_stage_ends_as_if_never_stopped(stopped: Project, never_stopped):
    for number, stop in enumerate(STOPS):
        stop_run(stopped, *stop)
        if number == 1:
            try_something_else(stopped)
    go_on(stopped)
    assert stages((stopped.folder / "dvc.lock").read_text()) == never_stopped
    assert not checkpoints(stopped), "what DVC has recorded needs no checkpoints"
    started_from = [run.get("resumed_from", -1) for run in runs(stopped, "train")]
    assert started_from[:3] == [-1, 0, 0]
    assert started_from[3] >= 2048
    assert started_from[4] > started_from[3]
    assert [len(runs(stopped, stage)) for stage in ("train", "evaluate", "render")] == [5, 2, 2]


def stop_run(project: Project, stage: str, noted: str, number: int, way: str) -> None:
    """Start ``dvc repro``, and stop ``stage`` in its midst."""
    before, wanted = len(runs(project, stage)), len(checkpoints(project)) + number if number else 0

    def happened() -> bool:
        return any(noted in run for run in runs(project, stage)[before:]) and has_checkpoints(project, wanted)

    stop_when(project, happened, way, "dvc", "repro", stage=stage)
    assert runs(project, stage)[-1]["state"] != "finished", "it was over before it was stopped"
    lock = project.folder / "dvc.lock"
    assert not lock.exists() or stage not in stages(lock.read_text())


def try_something_else(project: Project) -> None:
    """Train with another discount in between: it begins at the beginning, and has no part in the other."""
    params = project.folder / "params.yaml"
    before = params.read_text()
    project.edit_params({"ppo": {"gamma": 0.99}})
    stop_run(project, "train", "resumed_from", 0, "SIGKILL to both")
    params.write_text(before)


@pytest.mark.night
def test_a_training_that_ended_goes_on_from_its_last_checkpoint_only_if_it_was_not_recorded(
    stopped: Project, never_stopped
):
    stopped.run("python", "-m", "stages.train")  # as if DVC had been killed when the stage was over
    stopped.run("dvc", "repro", "train")
    assert went_on_from(stopped) == 10240
    assert stages((stopped.folder / "dvc.lock").read_text())["train"] == never_stopped["train"]
    stopped.run("dvc", "repro", "--force", "train")
    assert went_on_from(stopped) == 0, "asked for again, it begins at the beginning"


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(stopped: Project, never_stopped):
    stop_when(stopped, lambda: has_checkpoints(stopped, 3), "SIGKILL to both", "dvc", "repro", "train")
    newest = max(checkpoints(stopped), key=lambda folder: int(folder.name))
    content = bytearray((newest / "optimizer.safetensors").read_bytes())
    content[-7] ^= 1
    (newest / "optimizer.safetensors").write_bytes(content)
    output = stopped.run("dvc", "repro", "train").stdout
    assert f"train: the checkpoint at {int(newest.name):,} timesteps is damaged, and is not used" in output
    assert went_on_from(stopped) == int(newest.name) - 2048
    assert stages((stopped.folder / "dvc.lock").read_text())["train"] == never_stopped["train"]


@pytest.mark.night
def test_a_full_disk_is_one_sentence_and_the_training_goes_on_when_there_is_room(stopped: Project, never_stopped):
    store = stopped.folder / ".resume"
    store.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", store], check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        failed = stopped.run("dvc", "repro", "train", check=False)
        assert failed.returncode
        assert "cannot be written: No space left on device; make room" in failed.stderr
        assert "Traceback" not in failed.stderr
        subprocess.run(["mount", "-o", "remount,size=4m", store], check=True)
        stopped.run("dvc", "repro", "train")
    finally:
        subprocess.run(["umount", store], check=True)
    assert went_on_from(stopped) >= 2048
    assert stages((stopped.folder / "dvc.lock").read_text())["train"] == never_stopped["train"]


def test_an_experiment_that_was_killed_goes_on(stopped: Project, never_stopped):
    command = ("dvc", "exp", "run", "--name", "killed", "-S", "render.fps=30", "train")
    stop_when(stopped, lambda: has_checkpoints(stopped, 2), "SIGKILL to dvc", *command)
    stopped.run("git", "checkout", "HEAD", ".")  # DVC, killed there, has left the experiment's params staged
    stopped.run("git", "rm", "--quiet", "--force", "dvc.lock")  # that of the check: this HEAD has none
    assert not stopped.run("git", "diff", "HEAD", "--name-only").stdout
    stopped.run(*command[:3], *command[5:])
    assert max(went_on_from(stopped, path.name.split("_")[2]) for path in stopped.folder.glob("logs/*_train")) >= 4096
    assert stages((stopped.folder / "dvc.lock").read_text())["train"] == never_stopped["train"]


@pytest.mark.night
def test_a_queued_experiment_that_was_killed_goes_on(stopped: Project, never_stopped):
    stopped.run("dvc", "exp", "run", "--queue", "--name", "killed", "train")
    with stopped.start("dvc", "exp", "run", "--run-all", "--jobs", "1") as runner:
        wait_until(lambda: has_checkpoints(stopped, 2), seconds=180)
        stopped.run("dvc", "queue", "kill", "--force", "killed")
        runner.communicate(timeout=120)
    stopped.run("dvc", "exp", "run", "--queue", "--name", "again", "train")
    stopped.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    assert went_on_from(stopped, "again") >= 4096
    (ref,) = stopped.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/**/again").stdout.split()
    assert stages(stopped.run("git", "show", f"{ref}:dvc.lock").stdout)["train"] == never_stopped["train"]

"""Training that is stopped, through DVC: it ends soon, keeps the policy so far, and records nothing."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from pipeline.policy.policy import Policy
from tests.conftest import Project, wait_until
from tests.faults import is_recorded, stage_processes

pytestmark = pytest.mark.sim

ENDLESS = {"train": {"total_timesteps": 100_000_000}}


def test_ctrl_c_saves_the_policy_so_far_and_records_nothing(fresh_project: Project):
    fresh_project.edit_params(ENDLESS)
    with fresh_project.start("dvc", "repro", "train", start_new_session=True) as dvc:
        wait_until((fresh_project.folder / "models" / "checkpoints" / "512").exists, seconds=180)
        os.killpg(dvc.pid, signal.SIGINT)  # what a terminal does: to dvc and the stage alike
        output, _ = dvc.communicate(timeout=30)
    assert dvc.returncode
    (stopped_at,) = re.findall(r"train: stopped at ([\d,]+) timesteps; the policy so far is in ", output)
    assert "DVC records nothing of this run" in output
    assert "Traceback" not in output
    assert not is_recorded(fresh_project, "train")
    (checkpoint,) = fresh_project.folder.glob("logs/*_train/checkpoint")
    assert {file.name for file in checkpoint.iterdir()} == {"policy.json", "policy.safetensors"}
    assert Policy.load(checkpoint).timesteps == int(stopped_at.replace(",", "")) > 512


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_ends_with_dvc(fresh_project: Project, number):
    fresh_project.edit_params(ENDLESS)
    with fresh_project.start("dvc", "repro", "train", SHELL="/bin/sh") as dvc:  # as where no user has logged in
        wait_until((fresh_project.folder / "models" / "checkpoints" / "512").exists, seconds=180)
        dvc.send_signal(number)
        dvc.communicate(timeout=60)  # returns when the stage, too, has closed its output
    assert not is_recorded(fresh_project, "train")
    assert any(fresh_project.folder.glob("logs/*_train/checkpoint/policy.json"))


def mend(project: Project) -> str:
    """Mend what a killed DVC has left; returns what the tool says."""
    return project.run(sys.executable, "-m", "tools.mend").stdout


def test_after_an_experiment_that_was_killed_git_goes_back_to_its_branch(fresh_project: Project):
    command = ("dvc", "exp", "run", "-S", "train.total_timesteps=100_000_000", "train")
    with fresh_project.start(*command, start_new_session=True) as dvc:
        wait_until(lambda: bool(stage_processes(fresh_project, "train")), seconds=120)
        assert not mend(fresh_project), "DVC needs a detached HEAD while the experiment runs"
        dvc.kill()
        dvc.communicate(timeout=60)
    assert "left Git on no branch; it is on main again" in mend(fresh_project)
    assert "params.yaml" in fresh_project.run("git", "diff", "HEAD", "--name-only").stdout, "and nothing is lost"
    fresh_project.run("git", "checkout", "--quiet", "--detach")
    assert not mend(fresh_project), "who has detached HEAD by choice wants it so"

"""Training that is stopped, through DVC: it ends soon, keeps the policy so far, and records nothing."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from pipeline.policy import Policy
from tests.conftest import Project, wait_until
from tests.kills import stage_processes

pytestmark = pytest.mark.sim

ENDLESS = {"train": {"total_timesteps": 100_000_000}}


def test_ctrl_c_saves_the_policy_so_far_and_records_nothing(untouched: Project):
    untouched.edit_params(ENDLESS)
    with untouched.start("dvc", "repro", "train", start_new_session=True) as dvc:
        wait_until((untouched.folder / "models" / "checkpoints" / "512").exists, seconds=180)
        os.killpg(dvc.pid, signal.SIGINT)  # what a terminal does: to dvc and the stage alike
        output, _ = dvc.communicate(timeout=30)
    assert dvc.returncode
    (stopped_at,) = re.findall(r"train: stopped at ([\d,]+) timesteps; the policy so far is in ", output)
    assert "DVC records nothing of this run" in output
    assert "Traceback" not in output
    assert not (untouched.folder / "dvc.lock").exists()
    (checkpoint,) = untouched.folder.glob("logs/*_train/checkpoint")
    assert {file.name for file in checkpoint.iterdir()} == {"policy.json", "policy.safetensors"}
    assert Policy.load(checkpoint).timesteps == int(stopped_at.replace(",", "")) > 512


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_ends_with_dvc(untouched: Project, number):
    untouched.edit_params(ENDLESS)
    with untouched.start("dvc", "repro", "train", SHELL="/bin/sh") as dvc:  # as where no user has logged in
        wait_until((untouched.folder / "models" / "checkpoints" / "512").exists, seconds=180)
        dvc.send_signal(number)
        dvc.communicate(timeout=60)  # returns when the stage, too, has closed its output
    assert not (untouched.folder / "dvc.lock").exists()
    assert any(untouched.folder.glob("logs/*_train/checkpoint/policy.json"))


def mend(project: Project) -> str:
    """Mend what a killed DVC has left; the branch that Git is on then, if any."""
    project.run(sys.executable, "-m", "tools.mend")
    return project.run("git", "branch", "--show-current").stdout.strip()


def test_an_experiment_that_was_killed_leaves_a_detached_head_which_is_mended(untouched: Project):
    branch = untouched.run("git", "branch", "--show-current").stdout.strip()
    command = ("dvc", "exp", "run", "-S", "train.total_timesteps=100_000_000", "train")
    with untouched.start(*command, start_new_session=True) as dvc:
        wait_until(lambda: bool(stage_processes(untouched, "train")), seconds=120)
        assert not mend(untouched), "DVC needs a detached HEAD while the experiment runs"
        dvc.kill()
        dvc.communicate(timeout=60)
    assert mend(untouched) == branch
    assert "params.yaml" in untouched.run("git", "diff", "HEAD", "--name-only").stdout
    untouched.run("git", "checkout", "--quiet", "--detach")
    assert not mend(untouched), "who has detached HEAD by choice wants it so"


def test_a_head_that_stayed_detached_through_later_experiments_is_mended(untouched: Project):
    branch = untouched.run("git", "branch", "--show-current").stdout.strip()
    with untouched.start("dvc", "exp", "run", "-S", "seed=3", "train", start_new_session=True) as dvc:
        wait_until(lambda: bool(stage_processes(untouched, "train")), seconds=120)
        dvc.kill()
        dvc.communicate(timeout=60)
    untouched.run("dvc", "exp", "run", "-S", "seed=4", "train")
    assert untouched.run("dvc", "exp", "run", "-S", "ppo.gamma=3", "train", check=False).returncode
    assert not untouched.run("git", "branch", "--show-current").stdout
    assert mend(untouched) == branch


def test_a_detached_head_with_a_commit_of_its_own_stays(untouched: Project):
    untouched.run("dvc", "exp", "run", "--queue", "-S", "seed=3")
    untouched.run("git", "checkout", "--quiet", "--detach")  # as DVC leaves it
    untouched.run("git", "commit", "--quiet", "--allow-empty", "--message", "Mine")
    assert not mend(untouched)

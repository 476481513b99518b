"""The check comes before every stage, also one that is asked for alone, and what it refuses deletes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Project

pytestmark = pytest.mark.sim

OUTPUTS = (
    ".checked.json",
    "models/policy.safetensors",
    "models/env.yaml",
    "metrics/evaluate.json",
    "videos/policy.mp4",
)


@pytest.fixture
def trained(project: Project, tmp_path: Path) -> Project:
    """A copy of a project with all its outputs."""
    folder = tmp_path / "clone"
    return Project(shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("logs", "tmp")))


def assert_refused(project: Project, sentence: str, *command: str) -> None:
    """Run a command that the check should end, with a sentence, and all outputs as they were."""
    before = [(project.folder / name).read_bytes() for name in OUTPUTS]
    result = project.run(*command, check=False)
    assert result.returncode
    said = next(line for line in (result.stdout + result.stderr).splitlines() if line.startswith("check: "))
    assert sentence in said
    assert "Traceback" not in result.stderr
    assert [(project.folder / name).read_bytes() for name in OUTPUTS] == before


def test_what_shows_only_in_the_running_simulator_is_refused_before_a_stage_that_is_asked_for_alone(trained: Project):
    sentence = "Isaac-Cartpole does not start with these sim and env: ValueError: Not all regular expressions are"
    trained.edit_params({"env": {"actions.joint_effort.joint_names": ["nope"]}})
    assert_refused(trained, sentence, "dvc", "repro", "render")
    log = (trained.folder / "logs" / "check.log").read_text()
    assert "Traceback" in log, "the place in Isaac Lab where it failed"


def test_an_experiment_of_one_stage_is_checked_too(trained: Project):
    command = ("dvc", "exp", "run", "train", "-S", "++env.observations.policy=null")
    assert_refused(trained, "Isaac-Cartpole does not start with these sim and env: ", *command)


def test_an_asset_that_the_task_cannot_use_is_refused(trained: Project):
    asset = trained.folder / "assets" / "cartpole.usda"
    asset.write_text(asset.read_text().replace("cart_to_pole", "pole_to_cart"))
    assert_refused(trained, "Isaac-Cartpole does not start with these sim and env: ", "python", "-m", "stages.check")


def test_numbers_that_are_not_finite_are_refused(trained: Project):
    trained.edit_params({"env": {"rewards.pole_pos.weight": 1e39}})
    assert_refused(trained, "a reward of Isaac-Cartpole is not finite after a step", "python", "-m", "stages.check")


def test_code_that_python_cannot_read_is_refused_before_the_stage_before_it(trained: Project):
    code = trained.folder / "pipeline" / "evaluation" / "episodes.py"
    code.write_text(f"{code.read_text()}\ndef summarize(:\n")
    line = code.read_text().count("\n")
    assert_refused(trained, f"pipeline/evaluation/episodes.py, line {line}: ", "python", "-m", "stages.check")


def test_what_has_started_before_is_not_started_again(trained: Project):
    trained.edit_params({"ppo": {"gamma": 0.9}})
    result = trained.run("dvc", "repro", "check")
    assert "Running stage 'check'" in result.stdout
    assert "environments of Isaac-Cartpole" not in result.stdout
    trained.edit_params({"env": {"episode_length_s": 0.4}})
    assert "2 environments of Isaac-Cartpole" in trained.run("dvc", "repro", "check").stdout

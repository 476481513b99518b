"""What each stage refuses by itself, also where nobody has run the check before it."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.conftest import Project

pytestmark = pytest.mark.sim

# A camera that has seen nothing, in the stage as it is.
BLANK = """
import numpy as np
from pipeline.video import camera
from pipeline.experiment.stage import run_stage
from stages.render import render
camera.record = lambda *_: iter(np.full((3, 90, 160, 3), 240, dtype=np.uint8))
run_stage(render)
"""


@pytest.fixture(scope="module")
def trained(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project, with its policy."""
    folder = tmp_path_factory.mktemp("trained") / "clone"
    return Project(shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("logs", "tmp")))


@pytest.mark.parametrize("stage", ["check", "render"])
def test_a_video_that_could_not_be_made_is_refused_before_the_simulator_starts(trained: Project, stage: str):
    params = (trained.folder / "params.yaml").read_text()
    (trained.folder / "params.yaml").write_text(params.replace("fps: 15", "fps: 7"))
    result = trained.run("python", "-m", f"stages.{stage}", check=False)
    (trained.folder / "params.yaml").write_text(params)
    assert result.returncode == 1
    divisors = "1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60"
    sentence = f"render.fps should divide the task's 60 steps a second (given: 7); these do: {divisors}"
    assert result.stderr.endswith(f"{stage}: {sentence}\n")
    assert not list(trained.folder.glob("logs/*/simulator.log"))


def test_a_video_of_nothing_is_refused_and_the_old_one_stays(trained: Project):
    before = (trained.folder / "videos" / "policy.mp4").read_bytes()
    result = trained.run("python", "-c", BLANK, check=False)
    assert result.returncode == 1
    assert "render: the camera sees nothing but one colour" in result.stderr
    assert (trained.folder / "videos" / "policy.mp4").read_bytes() == before


@pytest.mark.parametrize("stage", ["evaluate", "render"])
def test_a_policy_of_another_task_is_not_played(trained: Project, stage: str):
    path = trained.folder / "models" / "policy.json"
    policy = json.loads(path.read_text()) | {"task": "Isaac-Cartpole-Direct"}
    path.unlink()  # it may be a link into DVC's cache
    path.write_text(json.dumps(policy, sort_keys=True, indent=2) + "\n")
    made = [trained.folder / "metrics" / "evaluate.json", trained.folder / "videos" / "policy.mp4"]
    before = [file.read_bytes() for file in made]
    result = trained.run("python", "-m", f"stages.{stage}", check=False)
    assert result.returncode == 1
    sentence = f"{stage}: the policy was trained for the task Isaac-Cartpole-Direct, not Isaac-Cartpole; run `dvc repro"
    assert sentence in result.stderr
    assert [file.read_bytes() for file in made] == before

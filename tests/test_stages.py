"""What each stage refuses by itself, also where nobody has run the check before it."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from pipeline.experiment.files import to_json, write_atomically
from pipeline.policy.policy import FILES
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
def test_a_policy_of_another_training_or_task_is_not_played(trained: Project, stage: str):
    models, metrics = trained.folder / "models", trained.folder / "metrics"
    made = [metrics / "evaluate.json", trained.folder / "videos" / "policy.mp4"]
    before = [file.read_bytes() for file in made]
    policy = json.loads((models / "policy.json").read_text()) | {"task": "Isaac-Cartpole-Direct"}
    write_atomically(models / "policy.json", to_json(policy))
    write_atomically(metrics / "train.json", to_json({"policy_sha256": "0" * 64}))
    result = trained.run("python", "-m", f"stages.{stage}", check=False)
    assert f"{stage}: models holds another policy than the one that metrics/train.json tells of" in result.stderr
    content = b"".join((models / name).read_bytes() for name in FILES)
    write_atomically(metrics / "train.json", to_json({"policy_sha256": hashlib.sha256(content).hexdigest()}))
    result = trained.run("python", "-m", f"stages.{stage}", check=False)
    assert result.returncode == 1
    sentence = f"{stage}: the policy was trained for the task Isaac-Cartpole-Direct, not Isaac-Cartpole; run `dvc repro"
    assert sentence in result.stderr
    assert [file.read_bytes() for file in made] == before

"""Tasks of one's own, in projects below tasks/, through the pipeline on the real simulator."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest

from tests.conftest import Project, copy_project
from tests.faults import has_checkpoints, runs, stop_when
from tests.test_render import decode

pytestmark = pytest.mark.sim

# Three metres ahead of where the task has it: a camera that does not follow sees 1.4 m to either side.
AHEAD = {
    "func": "isaaclab.envs.mdp:reset_root_state_uniform",
    "mode": "reset",
    "params": {"pose_range": {"x": [3.0, 3.0]}, "velocity_range": {}},
}
ANT = {
    "sim": {"project": "ant", "task": "Newton-Ant"},
    "env": {"events": {"ahead": AHEAD}},
    "render": {"camera": {"follow": True, "eye": [0.0, -4.0, 1.0], "target": [0.0, 0.0, 0.5], "focal_length": 30.0}},
}
PENDULUM = {
    "sim": {"project": "pendulum", "task": "Double-Pendulum", "physics": "task"},
    "train": {"total_timesteps": 3072, "checkpoint_every": 512},
}


@pytest.fixture(scope="module")
def ant(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project in which ``dvc repro`` has trained an ant a little, evaluated it and filmed it."""
    project = copy_project(tmp_path_factory.mktemp("ant") / "clone", ANT)
    project.run("dvc", "repro")
    project.commit("Results")
    return project


def test_a_camera_that_follows_has_the_robot_in_the_middle_wherever_it_is(ant: Project):
    frames = decode(ant.folder / "videos" / "policy.mp4", height=90, width=160)
    for frame in frames:
        rows, columns = np.nonzero(frame.mean(axis=-1) < 125)  # the ant is darker than all else, its shadow too
        assert len(rows) > 300
        assert (rows.mean(), columns.mean()) == (pytest.approx(45, abs=15), pytest.approx(80, abs=10))


def test_an_episode_of_the_ant_is_judged_by_the_ants_own_criterion(ant: Project):
    evaluated = json.loads((ant.folder / "metrics" / "evaluate.json").read_text())
    assert evaluated["success_rate"] == 0, "it has not walked ten metres"
    assert evaluated["length_mean"] == 30, "and yet lasts, as an untrained one does"
    assert not {"survival_rate", "pole_angle_rms"} & set(evaluated)


def test_the_policy_tells_what_the_ants_numbers_mean(ant: Project):
    told = json.loads((ant.folder / "models" / "policy.json").read_text())["signals"]
    observed = {signal["name"]: signal for signal in told["observations"]}
    assert len(observed) == 60, "the names differ"
    assert observed["base_lin_vel.2"] | {"unit": "m/s", "scale": 1.0} == observed["base_lin_vel.2"]
    velocity = {"unit": "rad/s", "scale": 0.2, "axis": [0.0, 0.0, 1.0]}
    assert observed["joint_vel_rel.front_left_leg"] | velocity == observed["joint_vel_rel.front_left_leg"]
    assert {(signal["unit"], signal["scale"]) for signal in told["actions"]} == {("N m", 7.5)}


def test_a_second_repro_changes_nothing(ant: Project):
    assert "Data and pipelines are up to date" in ant.run("dvc", "repro").stdout
    assert not ant.run("git", "status", "--porcelain").stdout


@pytest.mark.parametrize(
    ("files", "seen"),
    [
        (["src/ant/env_cfg.py"], True),
        (["src/ant/data/ant.usda"], True),
        (["README.md", "tests/test_ant.py", "src/ant.egg-info/PKG-INFO", "src/ant/__pycache__/other.pyc"], False),
    ],
    ids=["code", "asset", "neither"],
)
def test_dvc_sees_an_edit_of_what_a_project_is_made_of_and_of_nothing_else(ant: Project, files: list[str], seen: bool):
    try:
        for name in files:
            file = ant.folder / "tasks" / "ant" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as text:
                text.write("# edited\n")
        stale = json.loads(ant.run("dvc", "status", "--json").stdout)
    finally:
        ant.run("git", "clean", "-dfxq", "tasks")
        ant.run("git", "checkout", "--", "tasks")
    assert set(stale) == ({"check", "train", "evaluate", "render"} if seen else set())
    assert all({"changed deps": {"tasks/ant": "modified"}} in reasons for reasons in stale.values())


@pytest.mark.night
def test_a_task_of_two_agents_that_is_killed_goes_on_to_the_same_bits(tmp_path_factory: pytest.TempPathFactory):
    project = copy_project(tmp_path_factory.mktemp("pendulum") / "clone", PENDULUM)
    train = ("python", "-m", "stages.train")
    project.run(*train)
    never_stopped = outputs(project)
    shutil.rmtree(project.folder / ".resume")
    shutil.rmtree(project.folder / "models")
    stop_when(project, lambda: has_checkpoints(project, 1), "SIGKILL to both", *train)
    project.run(*train)
    _, killed, went_on = runs(project, "train")
    assert (killed["state"], went_on["state"]) == ("running", "finished")
    assert went_on["resumed_from"] >= 512
    assert outputs(project) == never_stopped


def outputs(project: Project) -> dict[str, str]:
    """The digests of all files of the policy."""
    files = [file for file in (project.folder / "models").rglob("*") if file.is_file()]
    return {str(file): sha256(file.read_bytes()).hexdigest() for file in files}

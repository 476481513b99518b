"""The committed experiment: run from nothing, on whatever machine this is, it gives the bits that are committed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import begin_repository

pytestmark = pytest.mark.sim

# What a robot would do: measure in the units of the card, and push with the newtons that the example answers.
DRIVE = """
import re
from pathlib import Path
import numpy as np, torch
from pipeline.experiment.params_file import load_params
from pipeline.simulation import configuration, launch
params = load_params()
cfg, _ = configuration.configure(params.sim, params.env, num_envs=100, seed=1)
example = re.search(r"```python\\n(.*?)```", Path("models/README.md").read_text(), re.DOTALL)[1]
names = {}
exec(example.replace('"policy.onnx"', '"models/policy.onnx"'), names)
with launch.running(params.sim, cfg, Path("log.txt")) as env:
    env.reset_twice()
    robot = env.unwrapped.scene["robot"].data
    newtons_per_action = cfg.actions.joint_effort.scale
    for step in range(env.unwrapped.max_episode_length - 1):
        measured = torch.cat([robot.joint_pos.torch, robot.joint_vel.torch], dim=1).numpy()
        newtons = names["command"](measured)
        env.step(torch.tensor(newtons / newtons_per_action, dtype=torch.float32))
    angles = robot.joint_pos.torch[:, 1]
    print("UPRIGHT", int((angles.abs() < 0.2).sum()))
"""


def test_after_make_repro_there_is_nothing_for_git_to_commit(tmp_path: Path):
    project = begin_repository(tmp_path / "clone")
    project.commit("As it is here")
    assert (project.folder / "dvc.lock").exists()
    # With the environment that runs this test; forced, since what Git keeps of the evaluation is up to date already.
    shown = project.run("make", "--old-file=setup", "repro", "ARGS=--force --no-run-cache").stdout
    assert not project.run("git", "status", "--porcelain").stdout, (
        "code was changed without `make repro`, or bits differ"
    )
    for stage in ("check", "train", "evaluate", "render", "card"):
        assert f"Running stage '{stage}'" in shown, "nothing came from a cache"
    assert "UPRIGHT 100" in project.run(sys.executable, "-c", DRIVE).stdout, "the example of the model card drives it"

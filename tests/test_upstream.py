"""What upstream's ``train.py`` can do and no other test shows, on the real simulator."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import Project

pytestmark = pytest.mark.sim


def test_clips_task_statistics_and_io_descriptors_of_a_training_run(untouched: Project):
    untouched.edit_params(
        {
            "train": {
                "num_envs": 4,
                "log_interval": 128,
                "max_iterations": 3,
                "keep_all_info": True,
                "export_io_descriptors": True,
                "video": {"interval": 128, "length": 4},
            },
            "ppo": {"n_steps": 32},
        }
    )
    untouched.run("python", "-m", "stages.train")
    (run,) = (untouched.folder / "logs").iterdir()
    assert sorted(path.name for path in (run / "videos").iterdir()) == ["132.mp4", "260.mp4", "4.mp4"]
    (descriptors,) = (run / "io_descriptors").iterdir()
    assert "joint_pos_rel" in descriptors.read_text()
    with (untouched.folder / "metrics" / "learning_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["timesteps"]) == 3 * 32 * 4
    assert "task/Episode_Reward/alive" in rows[-1]
    board = EventAccumulator(str(run)).Reload()
    assert {"rollout/ep_rew_mean", "train/loss", "task/Episode_Reward/alive"} <= set(board.Tags()["scalars"])


def test_the_resolved_configurations_and_the_command_are_kept(project: Project):
    models = project.folder / "models"
    assert "n_timesteps: 1024\n" in (models / "agent.yaml").read_text()
    assert "episode_length_s: 0.5\n" in (models / "env.yaml").read_text()
    (run,) = (project.folder / "logs").glob("*workspace_train/run.json")
    assert json.loads(run.read_text())["command"][1:] == ["-m", "stages.train"]


def test_a_multi_agent_task_is_one_agent_to_sb3(untouched: Project):
    """Isaac Lab 3.0 registers none for SB3, so this one comes with another library's agent, and Newton's asset."""
    (packages,) = find_spec("newton").submodule_search_locations  # type: ignore[union-attr]
    asset = (Path(packages) / "examples" / "assets" / "cartpole.usda").read_text()
    for theirs, ours in [
        ("railCartJoint", "slider_to_cart"),
        ("cartPoleJoint", "cart_to_pole"),
        ("polePoleJoint", "pole_to_pendulum"),
    ]:
        asset = asset.replace(theirs, ours)
    (untouched.folder / "assets" / "double.usda").write_text(asset)
    untouched.edit_params(
        {
            "sim": {"task": "Isaac-Pendulum-MARL-Direct", "agent": "skrl_cfg_entry_point"},
            "env": {"scene.robot.spawn.usd_path": "assets/double.usda", "scene.ground": None, "episode_length_s": 0.1},
        }
    )
    code = """
from pathlib import Path
import torch
from pipeline import simulation
from pipeline.params import load_params
params = load_params()
cfg, _ = simulation.configure(params, num_envs=4, seed=1)
with simulation.running(params, cfg, Path("simulator.log")) as env:
    assert env.observation_space.shape == (7,) and env.action_space.shape == (2,)
    env.reset()
    steps = [env.step(torch.zeros(4, 2)) for _ in range(6)]
assert steps[0][0].shape == (4, 7)
assert [bool(done.all()) for _, _, done, _ in steps] == [False] * 4 + [True] + [False], steps
"""
    untouched.run("python", "-c", code)

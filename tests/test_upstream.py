"""What upstream's ``train.py`` can do and no other test shows, on the real simulator."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import Project

pytestmark = pytest.mark.sim

CAMERA = {"follow": False, "eye": [8.0, 0.0, 3.3], "target": [0.0, 0.0, 1.95], "focal_length": 24.0}


def test_clips_task_statistics_and_io_descriptors_of_a_training_run(fresh_project: Project):
    fresh_project.edit_params(
        {
            "train": {
                "num_envs": 4,
                "log_interval": 128,
                "max_iterations": 3,
                "keep_all_info": True,
                "export_io_descriptors": True,
                "video": {"interval": 128, "length": 4, "camera": CAMERA},
            },
            "ppo": {"n_steps": 32},
        }
    )
    fresh_project.run("python", "-m", "stages.train")
    (run,) = fresh_project.folder.glob("logs/*_train")
    assert sorted(path.name for path in (run / "videos").iterdir()) == ["132.mp4", "260.mp4", "4.mp4"]
    (descriptors,) = (run / "io_descriptors").iterdir()
    described = yaml.safe_load(descriptors.read_text())
    assert [term["name"] for term in described["observations"]["policy"]] == ["joint_pos_rel", "joint_vel_rel"]
    assert [(term["name"], term["scale"]) for term in described["actions"]] == [("joint_effort_action", 100.0)]
    with (fresh_project.folder / "metrics" / "learning_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["timesteps"]) for row in rows] == [128, 256, 384]
    # A row has what the rollouts of 32 steps before it brought: in the first, the end of an episode of 30 steps that
    # began in its middle, in the second a whole one, in each of the four environments.
    assert [row["rollout/ep_len_mean"] for row in rows] == ["nan", "nan", "30.0"]
    first, both = (float(row["task/Episode_Reward/alive"]) for row in rows[1:])  # the share of 30 steps
    assert 0 < first < 1
    assert both == pytest.approx((first + 1) / 2, rel=1e-5)
    # Isaac Lab reports how many of all environments have had a time-out: 1, 2, 3, then all of 4.
    assert [float(row["task/Episode_Termination/time_out"]) for row in rows[1:]] == [2.5 / 4, 6.5 / 8]
    board = EventAccumulator(str(run)).Reload()
    assert {"rollout/ep_rew_mean", "train/loss", "task/Episode_Reward/alive"} <= set(board.Tags()["scalars"])


def test_the_resolved_configurations_and_the_command_are_kept(project: Project):
    models = project.folder / "models"
    agent, env = (yaml.safe_load((models / f"{name}.yaml").read_text()) for name in ("agent", "env"))
    assert agent == json.loads((models / "policy.json").read_text())["agent"] | {
        **{"seed": 42, "device": "cpu", "n_timesteps": 1024, "normalize_input": True, "normalize_value": True},
        **{"clip_obs": 100.0, "normalize_until": 4096},
    }
    assert (env["episode_length_s"], env["decimation"], env["seed"], env["compute_final_obs"]) == (0.5, 2, 42, True)
    assert (env["scene"]["num_envs"], env["sim"]["device"], env["scene"]["ground"]) == (16, "cpu", None)
    assert env["scene"]["robot"]["spawn"]["usd_path"] == "assets/cartpole.usda"
    assert env["sim"]["physics"]["deterministic"] is True
    assert not set(env) & {"log_dir", "cooked_collider_cache_dir"}
    (run,) = (project.folder / "logs").glob("*workspace_train/run.json")
    assert json.loads(run.read_text())["command"][1:] == ["-m", "stages.train"]


def test_a_multi_agent_task_is_one_agent_to_sb3(fresh_project: Project):
    """Isaac Lab 3.0 registers none for SB3, so this one comes with another library's agent, and Newton's asset."""
    (packages,) = find_spec("newton").submodule_search_locations  # type: ignore[union-attr]
    asset = (Path(packages) / "examples" / "assets" / "cartpole.usda").read_text()
    for theirs, ours in [
        ("railCartJoint", "slider_to_cart"),
        ("cartPoleJoint", "cart_to_pole"),
        ("polePoleJoint", "pole_to_pendulum"),
    ]:
        asset = asset.replace(theirs, ours)
    (fresh_project.folder / "assets" / "double.usda").write_text(asset)
    fresh_project.edit_params(
        {
            "sim": {"task": "Isaac-Pendulum-MARL-Direct", "agent": "skrl_cfg_entry_point"},
            "env": {"scene.robot.spawn.usd_path": "assets/double.usda", "scene.ground": None, "episode_length_s": 0.1},
        }
    )
    code = """
from pathlib import Path
import torch
from pipeline.simulation import configuration, launch
from pipeline.experiment.params_file import load_params
params = load_params()
configuration.check_task = lambda sim: None  # Isaac Lab registers no agent for SB3 with any multi-agent task
cfg, _ = configuration.configure(params.sim, params.env, num_envs=4, seed=1)
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    assert env.observation_space.shape == (7,) and env.action_space.shape == (2,)
    env.reset()
    steps = [env.step(torch.zeros(4, 2)) for _ in range(6)]
assert steps[0][0].shape == (4, 7)
assert [bool(done.all()) for _, _, done, _ in steps] == [False] * 4 + [True] + [False], steps
"""
    fresh_project.run("python", "-c", code)

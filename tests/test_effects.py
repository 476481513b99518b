"""Every leaf of params.yaml has its effect: one that is read and then ignored would be recorded beside the results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiment.params import Params, Section
from tests.conftest import copy_project

# Eight rollouts of 64 timesteps. Normalisation stops after the second, updates end early, observations are clipped.
BASE = {
    "ppo": {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "learning_rate": 1e-2, "target_kl": 0.01},
    "normalize": {"until": 128, "clip_observations": 2.0},
    "train": {"num_envs": 8, "total_timesteps": 512, "checkpoint_every": 256, "log_interval": 64},
    "env": {"episode_length_s": 0.3},
}

# Another value for each leaf that the trained weights depend on, in the same environments.
WEIGHTS: dict[str, Any] = {
    "seed": 5,
    "ppo.n_steps": 16,
    "ppo.batch_size": 16,
    "ppo.n_epochs": 3,
    "ppo.learning_rate": "lin_1e-2",
    "ppo.target_kl": 1e-4,
    "ppo.gamma": 0.9,
    "ppo.gae_lambda": 0.5,
    "ppo.clip_range": 0.01,
    "ppo.clip_range_vf": 0.01,
    "ppo.normalize_advantage": False,
    "ppo.ent_coef": 0.5,
    "ppo.vf_coef": 2.0,
    "ppo.max_grad_norm": 0.01,
    "ppo.use_sde": True,
    "ppo.policy_kwargs": {"activation_fn": "nn.Tanh"},
    "normalize.observations": False,
    "normalize.rewards": False,
    "normalize.clip_observations": 0.5,
    "normalize.until": None,
    "train.total_timesteps": 576,
    "train.max_iterations": 7,
    "train.checkpoint_every": 128,
}

# Changes of more than one leaf, or to what the weights do not depend on.
OTHERS: dict[str, dict[str, Any]] = {
    "ppo.n_minibatches": {"ppo.n_minibatches": 4, "ppo.batch_size": None},
    "ppo.sde_sample_freq": {"ppo.sde_sample_freq": 2, "ppo.use_sde": True},
    "ppo.stats_window_size": {"ppo.stats_window_size": 1, "train.keep_all_info": True},
    "train.log_interval": {"train.log_interval": 128},
    "train.keep_all_info": {"train.keep_all_info": True},
}

# Which test shows the effect of the others.
ELSEWHERE = {
    "sim.project": "test_a_project_is_found_and_nothing_of_it_installed",
    "sim.task": "test_the_direct_workflow_trains_and_evaluates_without_a_download",
    "sim.agent": "test_a_multi_agent_task_is_one_agent_to_sb3",
    "sim.physics": "test_trains_and_evaluates_on_every_engine",
    "sim.frontend": "test_the_warp_front_end_is_the_same_task",
    "sim.device": "test_a_training_that_was_stopped_on_a_gpu_begins_at_the_beginning_on_the_cpu",
    "sim.deterministic": "test_the_simulator_is_asked_to_be_deterministic_where_it_is_not_anyway",
    "sim.threads": "test_the_settings_are_in_force_in_every_stage",
    "env": "test_env_reaches_every_kind_of_field",
    "ppo.policy": "test_refuses_a_changed_description",  # there is but one
    "train.num_envs": "test_clips_task_statistics_and_io_descriptors_of_a_training_run",
    "train.init_from": "test_training_starts_from_its_weights_and_normalisation_with_the_hyperparameters_asked_for",
    "train.export_io_descriptors": "test_clips_task_statistics_and_io_descriptors_of_a_training_run",
    "train.video.interval": "test_clips_task_statistics_and_io_descriptors_of_a_training_run",
    "train.video.length": "test_clips_task_statistics_and_io_descriptors_of_a_training_run",
    "train.video.camera.follow": "test_a_camera_that_follows_is_moved_with_the_robot_but_not_up_and_down",
    "train.video.camera.eye": "test_the_camera_beside_each_environment_is_as_asked_for",
    "train.video.camera.target": "test_a_camera_is_turned_to_its_target_and_stays_upright",
    "train.video.camera.focal_length": "test_the_camera_beside_each_environment_is_as_asked_for",
    "evaluate.seed": "test_results_from_the_run_cache_keep_their_record_and_make_repro_gives_it_back_to_git",
    "evaluate.episodes": "test_evaluation_has_one_row_an_episode_and_names_the_policy",
    "evaluate.num_envs": "test_evaluation_has_one_row_an_episode_and_names_the_policy",
    "render.seed": "test_another_seed_gives_another_video",
    "render.episodes": "test_the_video_shows_a_moving_cartpole_and_is_the_same_bytes_again",
    "render.length": "test_the_video_shows_a_moving_cartpole_and_is_the_same_bytes_again",
    "render.num_envs": "test_the_video_shows_a_moving_cartpole_and_is_the_same_bytes_again",
    "render.width": "test_the_video_shows_a_moving_cartpole_and_is_the_same_bytes_again",
    "render.height": "test_the_video_shows_a_moving_cartpole_and_is_the_same_bytes_again",
    "render.fps": "test_the_mp4_is_as_fast_as_asked_for",
    "render.camera.follow": "test_a_camera_that_follows_has_the_robot_in_the_middle_wherever_it_is",
    "render.camera.eye": "test_the_camera_beside_each_environment_is_as_asked_for",
    "render.camera.target": "test_a_camera_is_turned_to_its_target_and_stays_upright",
    "render.camera.focal_length": "test_the_camera_beside_each_environment_is_as_asked_for",
}


def leaves(section: type[Section], path: str = "") -> Iterator[str]:
    """The dotted paths of all leaves of ``section``."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from leaves(field.annotation, f"{path}{name}.")
        else:
            yield path + name


def test_every_leaf_has_a_test_of_its_effect():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert sorted(leaves(Params)) == sorted([*WEIGHTS, *OTHERS, *ELSEWHERE])
    assert [name for name in ELSEWHERE.values() if f"\ndef {name}(" not in tests] == []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the stage makes of :data:`BASE`, under "base", and with each change to it; all in one simulator."""
    project = copy_project(tmp_path_factory.mktemp("effects") / "clone", BASE)
    changes = {"base": {}, **{leaf: {leaf: value} for leaf, value in WEIGHTS.items()}, **OTHERS, "again": {}}
    printed = project.run("python", "-c", TRAIN, json.dumps([*changes.values()])).stdout
    return dict(zip(changes, json.loads(printed.splitlines()[-1]), strict=True))


TRAIN = """
import contextlib, csv, hashlib, json, shutil, sys
from pathlib import Path
from pipeline.experiment.numerics import pin_numerics
pin_numerics(threads=1)  # as a stage does
from pipeline.simulation import configuration, launch
from pipeline.experiment.files import write_yaml
from pipeline.experiment.inputs import Inputs
from pipeline.experiment.params_file import load_params, read_sections
from pipeline.experiment.paths import PARAMS_FILE
from pipeline.experiment.provenance import Run
from stages.train import train

base, results, params = PARAMS_FILE.read_text(), [], load_params()
cfg, _ = configuration.configure(params.sim, params.env, num_envs=params.train.num_envs, seed=params.seed)
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    launch.running = lambda *_: contextlib.nullcontext(env)
    for changes in json.loads(sys.argv[1]):
        PARAMS_FILE.write_text(base)
        sections = read_sections(PARAMS_FILE)
        for path, value in changes.items():
            section, _, leaf = path.rpartition(".")
            (sections[section] if section else sections)[leaf] = value
        write_yaml(PARAMS_FILE, sections)
        shutil.rmtree("models", ignore_errors=True)  # as DVC does
        with Run("train", Inputs("train")) as run:
            train(load_params(), run)
        results.append({
            "weights": hashlib.md5(Path("models/policy.safetensors").read_bytes()).hexdigest(),
            "timesteps": json.loads(Path("metrics/train.json").read_text())["timesteps"],
            "checkpoints": sorted(int(path.name) for path in Path("models/checkpoints").iterdir()),
            "rows": list(csv.DictReader(Path("metrics/learning_curve.csv").open())),
        })
print(json.dumps(results))
"""


@pytest.mark.parametrize("leaf", WEIGHTS)
def test_the_weights_depend_on_it(trained: dict[str, Any], leaf: str):
    assert trained["again"]["weights"] == trained["base"]["weights"], "so that a difference is the leaf's"
    assert trained[leaf]["weights"] != trained["base"]["weights"]


def test_a_rollout_cut_into_four_minibatches_of_16_is_one_of_batches_of_16(trained: dict[str, Any]):
    assert trained["ppo.n_minibatches"]["weights"] == trained["ppo.batch_size"]["weights"]


def test_gsde_draws_its_noise_as_often_as_it_is_told(trained: dict[str, Any]):
    assert trained["ppo.sde_sample_freq"]["weights"] != trained["ppo.use_sde"]["weights"]


@pytest.mark.parametrize(
    ("leaf", "timesteps", "checkpoints"),
    [
        ("base", 512, [256]),
        ("train.total_timesteps", 576, [256, 512]),
        ("train.max_iterations", 7 * 64, [256]),
        ("train.checkpoint_every", 512, [128, 256, 384]),
        ("ppo.n_steps", 512, [256]),
    ],
)
def test_a_training_lasts_as_long_and_is_saved_as_often_as_it_is_told(trained, leaf, timesteps, checkpoints):
    assert (trained[leaf]["timesteps"], trained[leaf]["checkpoints"]) == (timesteps, checkpoints)


def test_the_learning_curve_has_the_points_and_columns_that_it_is_told(trained: dict[str, Any]):
    rows = {leaf: trained[leaf]["rows"] for leaf in trained}
    assert [int(row["timesteps"]) for row in rows["base"]] == [*range(64, 513, 64)]
    assert [int(row["timesteps"]) for row in rows["train.log_interval"]] == [128, 256, 384, 512]
    assert not [column for column in rows["base"][-1] if column.startswith("task/")]
    assert "task/Episode_Reward/alive" in rows["train.keep_all_info"][-1]
    returns = [rows[leaf][-1]["rollout/ep_rew_mean"] for leaf in ("base", "ppo.stats_window_size")]
    assert returns[0] != returns[1], "a mean of 100 episodes, and the last episode"
    name = "task/Episode_Reward/alive"
    assert rows["train.keep_all_info"][-1][name] != rows["ppo.stats_window_size"][-1][name], "as here"
    for leaf in ("train.log_interval", "train.keep_all_info", "ppo.stats_window_size"):
        assert trained[leaf]["weights"] == trained["base"]["weights"]

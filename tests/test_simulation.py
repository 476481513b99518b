"""The simulator as the stages see it: every engine, both workflows, final observations, what counts as success."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from tests.conftest import Project

pytestmark = pytest.mark.sim

TINY = {
    "ppo": {"n_steps": 4, "batch_size": 16, "n_epochs": 1},
    "train": {"num_envs": 4, "total_timesteps": 32, "checkpoint_every": None, "log_interval": 16},
    "evaluate": {"episodes": 3, "num_envs": 2},
}

START = """
import sys
from pathlib import Path
from pipeline.experiment.numerics import pin_numerics
pin_numerics(threads=1)  # as a stage does
import numpy as np, torch
from pipeline.simulation import configuration, launch
from pipeline.experiment.params_file import load_params
params = load_params()
cfg, agent = configuration.configure(params.sim, params.env, num_envs=8, seed=params.evaluate.seed)
"""


@pytest.mark.parametrize(
    ("physics", "frontend", "engine"),
    [
        ("physx", "torch", "OvPhysxCfg"),
        pytest.param("ovphysx", "torch", "OvPhysxCfg", marks=pytest.mark.night),  # what physx means here
        pytest.param("newton_mjwarp", "torch", "NewtonCfg", marks=pytest.mark.night),
        ("newton_mjwarp", "warp", "NewtonCfg"),
    ],
)
def test_trains_and_evaluates_on_every_engine(fresh_project: Project, physics, frontend, engine):
    fresh_project.edit_params(
        TINY | {"sim": {"physics": physics, "frontend": frontend}, "env": {"episode_length_s": 0.1}}
    )
    fresh_project.run("python", "-m", "stages.train")
    fresh_project.run("python", "-m", "stages.evaluate")
    runs = [json.loads(path.read_text()) for path in sorted((fresh_project.folder / "logs").glob("*/run.json"))]
    assert [run["physics"] for run in runs] == [engine, engine]
    assert [run["state"] for run in runs] == ["finished", "finished"]
    assert json.loads((fresh_project.folder / "metrics" / "evaluate.json").read_text())["length_mean"] == 6


@pytest.mark.night
def test_trains_on_kamino(fresh_project: Project):
    """A few steps: on a CPU it takes a second or more for each, and it has no deterministic mode."""
    fresh_project.edit_params(TINY | {"sim": {"physics": "newton_kamino", "deterministic": False}})
    fresh_project.edit_params({"train": {"num_envs": 2, "total_timesteps": 8}, "ppo": {"batch_size": 8}})
    fresh_project.run("python", "-m", "stages.train")
    models = fresh_project.folder / "models"
    physics = yaml.safe_load((models / "env.yaml").read_text())["sim"]["physics"]
    assert (physics["solver_cfg"]["solver_type"], physics["deterministic"]) == ("kamino", False)
    assert json.loads((models / "policy.json").read_text())["timesteps"] == 8


def test_the_direct_workflow_trains_and_evaluates_without_a_download(fresh_project: Project):
    ppo = TINY["ppo"] | {"gamma": None}  # as registered
    fresh_project.edit_params(
        TINY | {"ppo": ppo, "sim": {"task": "Isaac-Cartpole-Direct"}, "env": {"episode_length_s": 0.1}}
    )
    fresh_project.run("python", "-m", "stages.train")
    fresh_project.run("python", "-m", "stages.evaluate")
    policy = json.loads((fresh_project.folder / "models" / "policy.json").read_text())
    assert policy["normalization"]["gamma"] == policy["agent"]["gamma"] == 0.99
    evaluated = json.loads((fresh_project.folder / "metrics" / "evaluate.json").read_text())
    assert evaluated["length_mean"] == 6
    assert evaluated["success_rate"] == 0, "a tenth of a second is no second upright"


def test_isaac_sims_own_physx_is_configured_as_isaac_lab_does(fresh_project: Project):
    fresh_project.edit_params({"sim": {"physics": "isaacsim_physx"}, "env": {"sim.physics.solver_type": 0}})
    configured = "print(type(cfg.sim.physics).__name__, cfg.sim.physics.solver_type, cfg.sim.physics.deterministic)"
    assert fresh_project.run("python", "-c", START + configured).stdout.endswith("PhysxCfg 0 True\n")


@pytest.mark.parametrize(("physics", "asked"), [("physx", True), ("newton_mjwarp", False)])
def test_the_simulator_is_asked_to_be_deterministic_where_it_is_not_anyway(fresh_project: Project, physics, asked):
    fresh_project.edit_params({"sim": {"physics": physics, "device": "cpu"}})
    assert fresh_project.run("python", "-c", f"{START}print(cfg.sim.physics.deterministic)").stdout.endswith(
        f"{asked}\n"
    )


FOLLOW = """
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    env.reset()
    robot = env.unwrapped.scene["robot"]
    starts = torch.linspace(-0.9, 0.9, 32).view(8, 4)
    robot.write_joint_state_to_sim_index(position=starts[:, :2].clone(), velocity=starts[:, 2:].clone())
    seen = []
    for step in range(30):
        observations, rewards, dones, ended = env.step(torch.sin(torch.arange(8.0) + step).view(8, 1))
        seen.append(torch.cat([ended.final_observations if dones.all() else observations, rewards.view(8, 1)], 1))
    assert ended.time_outs.all()
np.save("seen.npy", torch.stack(seen).numpy())
"""


@pytest.mark.night
def test_the_warp_front_end_is_the_same_task(fresh_project: Project):
    fresh_project.edit_params({"sim": {"physics": "newton_mjwarp"}})
    seen = []
    for frontend in ("torch", "warp"):
        fresh_project.edit_params({"sim": {"frontend": frontend}})
        fresh_project.run("python", "-c", START + FOLLOW)
        seen.append(np.load(fresh_project.folder / "seen.npy"))
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sim": {"task": "Isaac-Cartpole-Direct"}}, "sim.frontend: warp is for manager-based tasks, which"),
        (
            {
                "sim": {"task": "IsaacContrib-Velocity-Rough-UnitreeA1"},
                "env": {"scene.robot.spawn.usd_path": "assets/cartpole.usda"},  # in place of a download
            },
            "cannot run on warp: warp env 'UnitreeA1RoughEnvCfg'",
        ),
    ],
)
def test_a_task_that_the_warp_front_end_cannot_run_is_one_sentence(fresh_project: Project, changes, sentence):
    fresh_project.edit_params(
        {"env": {}} | changes | {"sim": {"physics": "newton_mjwarp", "frontend": "warp"} | changes["sim"]}
    )
    result = fresh_project.run("python", "-m", "stages.train", check=False)
    assert result.returncode == 1
    assert sentence in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"scene.robott.spawn": 1}, "env.scene.robott.spawn: the task's configuration has no such field; did you mean"),
        ({"rewards": {"pole_pos": {"wieght": 1}}}, "env.rewards.pole_pos.wieght: the task's configuration has no such"),
        ({"episode_length": 1}, "did you mean episode_length_s"),
    ],
)
def test_a_path_that_the_task_does_not_have_is_one_sentence(fresh_project: Project, env, sentence):
    fresh_project.edit_params({"env": env})
    result = fresh_project.run("python", "-m", "stages.train", check=False)
    assert result.returncode == 1
    assert sentence in result.stderr.splitlines()[-1]


FAR_AWAY = {"follow": False, "eye": [68.0, 0.0, 3.3], "target": [0.0, 0.0, 1.95], "focal_length": 24.0}
REFUSED = [
    ({"env": {"rewards.pole_pos.weight": "abc"}}, "env.rewards.pole_pos.weight is -1.0, of type float in the task's"),
    ({"env": {"scene.robot": "abc"}}, "env.scene.robot is a section"),
    ({"env": {"scene.robot.prim_path.x": 1}}, "of type str in the task's configuration (given: 1)"),
    ({"env": {"events.reset_cart_position.params.position_range": 1.0}}, "of type tuple"),
    ({"env": {"sim.dt": 0}}, "env.sim.dt should be a number greater than 0 (given: 0)"),
    ({"env": {"episode_length_s": -5}}, "env.episode_length_s should be a number greater than 0"),
    ({"env": {"episode_length_s": float("inf")}}, "env.episode_length_s should be a number greater than 0"),
    ({"env": {"episode_length_s": {"a": 1}}}, "env.episode_length_s is 5, of type int in the task's configuration"),
    ({"env": {"decimation": None}}, "env.decimation is 2, of type int in the task's configuration (given: None)"),
    ({"env": {"decimation": 0.5}}, "env.decimation is 2, of type int in the task's configuration (given: 0.5)"),
    ({"env": {"decimation": 300}}, "env: a step should last at most 1.0 s (sim.dt"),
    (
        {"env": {"rewards.pole_pos.func": "numpy:bar"}},
        "env.rewards.pole_pos.func: numpy:bar cannot be imported: AttributeError",
    ),
    ({"env": {"rewards.pole_pos.func": 5}}, "(given: 5)"),
    (
        {"env": {"rewards.pole_pos.func": "pipeline.experiment.files:read_json"}},
        "func: DVC would not see a change of pipeline.experiment.files",
    ),
    ({"env": {"rewards.pole_pos.func": "lambda: 9**9**9"}}, "func should be a function, as package.module:function"),
    (
        {"env": {"rewards.pole_pos.func": "os:system"}},
        "func: DVC would not see a change of os; take a package in",
    ),
    ({"env": {"commands": {"foo": 1}}}, "(given: {'foo': 1})"),
    (
        {"env": {"scene.robot.spawn.usd_path": "assets/nowhere.usd"}},
        "there is no file assets/nowhere.usd; give",
    ),
    ({"env": {"rewards.pole_pos.weight": None}}, "env.rewards.pole_pos.weight is -1.0, of type float"),
    ({"env": {"rewards.pole_pos.weight": float("nan")}}, "in the task's configuration (given: nan)"),
    ({"env": {"events.reset_cart_position.params.position_range": [float("nan"), 1.0]}}, "(given: [nan, 1.0])"),
    (
        {"env": {"scene.robot.spawn.usd_path": "README.md"}},
        "usd_path: DVC would not see a change of README.md; put the",
    ),
    ({"env": {"scene": {"num_envs": 8}}}, "env: scene.num_envs, seed and sim.device follow from other params"),
    ({"env": {"sim.gravity": ["a", "a", "a"]}}, "env.sim.gravity is (0.0, 0.0, -9.81), of type tuple"),
    ({"env": {"sim.gravity": []}}, "env.sim.gravity is (0.0, 0.0, -9.81), of type tuple"),
    ({"env": {"terminations.cart_out_of_bounds.params.bounds": [3, -3]}}, "bounds should begin with the lower bound"),
    ({"env": {"terminations.time_out": None}}, "a term should have time_out"),
    ({"env": {"terminations": None}}, "a term should have time_out"),
    ({"env": {"events.reset_pole_position.mode": "resett"}}, "env.events.reset_pole_position.mode should be one of"),
    (
        {"env": {"rewards.alive.weight": 2.0, "rewards": {"alive": {"weight": 3.0}}}},
        "env: rewards.alive.weight is set twice, and one would win",
    ),
    ({"render": {"height": 2**31}}, "pixels, which is more than 16384 along a side or 8 GB; lower render.width"),
    ({"render": {"camera": FAR_AWAY}}, "render.camera.target should be"),
    ({"ppo": {"policy_kwargs": {"activation_fn": "nn.GLU"}}}, "ppo.policy_kwargs.activation_fn: nn.GLU cannot stand"),
    ({"train": {"init_from": "README.md"}}, "train.init_from: should be assets/random_weights.md or a folder"),
    ({"render": {"fps": 25}}, "render.fps should divide the task's 60 steps a second (given: 25)"),
]


def test_what_only_the_tasks_configuration_can_tell_is_refused_before_the_simulator_starts(fresh_project: Project):
    """All in one process: reading the configuration takes seconds."""
    code = """
import json
from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Params
from pipeline.experiment.params_file import load_params
from stages.check import check_settings
sentences = []
for changes in json.loads(sys.argv[1]):
    params = load_params().model_dump()
    for section, values in changes.items():
        params[section] |= values
    params = Params.model_validate(params)
    try:
        check_settings(params)
    except UserError as error:
        sentences.append(str(error))
print(json.dumps(sentences))
"""
    changes = json.dumps([changes for changes, _ in REFUSED])
    sentences = json.loads(fresh_project.run("python", "-c", "import sys" + code, changes).stdout.splitlines()[-1])
    assert len(sentences) == len(REFUSED)
    for sentence, (_, expected) in zip(sentences, REFUSED, strict=True):
        assert expected in sentence
        assert "\n" not in sentence


def test_a_reward_that_is_not_finite_ends_the_training_in_one_sentence(fresh_project: Project):
    fresh_project.edit_params(TINY | {"env": {"rewards.pole_pos.weight": 1e39}})
    result = fresh_project.run("python", "-m", "stages.train", check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("train: a reward was not finite after 16 timesteps; nothing was")
    assert "Traceback" not in result.stderr


def test_a_policy_that_only_gsde_allows_is_not_refused(fresh_project: Project):
    fresh_project.edit_params({"ppo": {"use_sde": True, "policy_kwargs": {"squash_output": True}}})
    fresh_project.run("python", "-c", START + "from stages.check import check_settings; check_settings(params)")


def test_a_class_and_a_function_can_be_set_to_what_they_are(fresh_project: Project):
    """Text in place of a class or a function fails only when Isaac Lab uses it."""
    fresh_project.edit_params(
        {
            "env": {
                "scene.robot.class_type": "isaaclab.assets.articulation.articulation:Articulation",
                "scene.clone_cfg.clone_strategy": "isaaclab.cloner:sequential",
                "rewards.alive.func": "isaaclab.envs.mdp:is_alive",
            }
        }
    )
    fresh_project.run("python", "-m", "stages.check")


def test_env_reaches_every_kind_of_field(fresh_project: Project):
    env = {
        "episode_length_s": 7.5,  # an int by default
        "rewards.pole_pos.weight": -2.0,
        "events": {"reset_cart_position": {"params": {"position_range": [-0.5, 0.5]}}},
        "scene.robot.actuators.cart_actuator.damping": 5.0,
        "scene.distant_light": None,
    }
    fresh_project.edit_params({"env": env})
    fields = (
        "print(cfg.episode_length_s, cfg.rewards.pole_pos.weight,"
        "cfg.events.reset_cart_position.params['position_range'],"
        "cfg.scene.robot.actuators['cart_actuator'].damping, cfg.scene.distant_light)"
    )
    assert fresh_project.run("python", "-c", START + fields).stdout.endswith("7.5 -2.0 (-0.5, 0.5) 5.0 None\n")


def test_time_outs_carry_the_final_observation_and_not_the_one_after_the_reset(fresh_project: Project):
    fresh_project.edit_params({"env": {"episode_length_s": 0.5}})
    code = """
cfg.events.reset_cart_position.params["position_range"] = (0.9, 1.0)
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    env.reset()
    before = env.reset()
    for _ in range(30):
        after, _, done, ended = env.step(torch.full((8, 1), -1.0))
        before, previous = after, before
    assert done.all() and ended.time_outs.all() and not ended.terminated.any()
    assert (ended.lengths == 30).all()
    final = ended.final_observations
    # Full thrust along -y for half a second; the next episode starts at 0.9 m to 1 m again.
    assert (final[:, 0] < previous[:, 0]).all() and (torch.abs(final[:, 0] - previous[:, 0]) < 0.5).all()
    assert (final[:, 0] < 0.6).all() and (after[:, 0] >= 0.9).all()
"""
    fresh_project.run("python", "-c", START + code)


def test_neither_a_hanging_pole_nor_a_cart_that_left_the_rail_succeeds(fresh_project: Project):
    """And what is measured of the latter is what the simulator's own state says, read beside the evaluation."""
    fresh_project.edit_params({"env": {"episode_length_s": 5}})
    code = """
from pipeline.evaluation.episodes import play_episodes
from pipeline.evaluation.statistics import summarize
def push(observations):
    states.append(env.unwrapped.scene["robot"].data.joint_pos.torch.double().numpy().copy())
    return torch.ones(8, 1)
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    hanging = summarize(play_episodes(env, lambda observations: torch.zeros(8, 1), 20), seed=0)
    names, states = env.unwrapped.scene["robot"].joint_names, []
    pushed = play_episodes(env, push, 8)
assert hanging["length_mean"] == 300, hanging
assert hanging["success_rate"] == 0, hanging
assert hanging["effort_rms"] == 0, hanging
assert hanging["return_mean"] < -15, hanging
for row in pushed:
    states_of_one = np.stack(states)[: row["length"], row["environment"]]
    cart, pole = (states_of_one[:, names.index(name)] for name in ("slider_to_cart", "cart_to_pole"))
    angle = np.arctan2(np.sin(pole), np.cos(pole))
    assert 2.0 < abs(cart[-1]) <= 3.0 and row["length"] < 300, "it should have left the rail with the next step"
    assert row["success"] == 0
    np.testing.assert_allclose(row["cart_displacement_max"], abs(cart).max())
    np.testing.assert_allclose(row["pole_angle_rms"], np.sqrt(np.mean(angle**2)))
    np.testing.assert_allclose(row["effort_rms"], 100.0)  # [N], Isaac Lab's scale of the action
"""
    fresh_project.run("python", "-c", START + code)


def test_evaluation_starts_with_moving_joints_and_a_seed_is_that_of_all_random_numbers(fresh_project: Project):
    code = """
import random
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    assert (env.reset_twice()[:, 2:].abs() > 1e-6).all()
    env.seed(5)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert (np.random.rand(3) == np.random.RandomState(5).rand(3)).all()
    assert random.random() == random.Random(5).random()
    starts = [env.reset_twice().clone() for seed in (5, 6, 5) if env.seed(seed)]
    assert torch.equal(starts[0], starts[2]) and not torch.equal(starts[0], starts[1])
"""
    fresh_project.run("python", "-c", START + code)


def test_ppo_learns_what_stock_sb3_learns_on_the_simulator(fresh_project: Project):
    """Two rollouts with time-outs, from the same starts, with the same noise and the same order of samples."""
    code = """
from isaaclab_rl.sb3 import Sb3VecEnvWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.ppo.ppo import TensorPPO
np.random.permutation = lambda n: torch.randperm(n).numpy()  # where stock SB3 draws its order from
settings = {"n_steps": 40, "batch_size": 64, "n_epochs": 2, "seed": 1, "device": "cpu"}
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    env.reset()
    weights = []
    stock, ours = (PPO, VecNormalize, Sb3VecEnvWrapper(env.env)), (TensorPPO, TensorNormalize, env)
    for algorithm, normalize, wrapped in (stock, ours):
        model = algorithm("MlpPolicy", normalize(wrapped), **settings).learn(640)
        weights.append(model.policy.state_dict())
for name, stock in weights[0].items():
    torch.testing.assert_close(weights[1][name], stock, rtol=1e-3, atol=1e-4)
"""
    fresh_project.run("python", "-c", START + code)


def test_stock_sb3_reproduces_the_evaluation_to_the_bit(project: Project):
    code = """
import json
from isaaclab_rl.sb3 import Sb3VecEnvWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
model = PPO.load("models/model.zip")  # before the environments: it seeds torch, which draws their starts
with launch.running(params.sim, cfg, Path("logs/simulator.log")) as env:
    env.reset()
    normalized = VecNormalize.load("models/model_vecnormalize.pkl", Sb3VecEnvWrapper(env.env))
    normalized.training = normalized.norm_reward = False
    observations = normalized.reset()
    returns = [[] for _ in range(8)]
    while min(map(len, returns)) < 2:
        observations, _, _, infos = normalized.step(model.predict(observations, deterministic=True)[0])
        for index, info in enumerate(infos):
            if "episode" in info:
                returns[index].append(info["episode"]["r"])
# 12 episodes of 8 environments: two of the last four, one of the others.
print(json.dumps([value for index, values in enumerate(returns) for value in values[: 1 + (index >= 4)]]))
"""
    returns = json.loads(project.run("python", "-c", START + code).stdout.splitlines()[-1])
    rows = (project.folder / "metrics" / "episodes.csv").read_text().splitlines()[1:]
    assert returns == [float(row.split(",")[2]) for row in rows]

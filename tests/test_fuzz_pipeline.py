"""Invented experiments: what the check lets pass, every stage can run. `make fuzz` runs them for an hour."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SMALL, Project
from tests.test_fuzz import tries

pytestmark = [pytest.mark.sim, pytest.mark.night]

FLAG = [True, False]
COEFFICIENT = [0.0, 1e-15, 0.5, 1e3]
POLICY = {
    "activation_fn": ["nn.Tanh", "nn.GELU", "nn.Hardtanh", "nn.Softmin", "nn.GLU", "nn.PReLU", "nn.Identity"],
    "net_arch": [[], [1], [8, 8, 8], {"pi": [4]}, {"vf": [4]}, {"pi": [], "vf": [3]}],
    "optimizer_class": ["optim.SGD", "optim.AdamW", "optim.RMSprop"],
    "optimizer_kwargs": [{}, {"weight_decay": 0.1}, {"eps": 1e-3}, {"betas": [0.5, 0.9]}, {"amsgrad": True}],
    "ortho_init": FLAG,
    "log_std_init": [-20.0, 0.0, 2.0],
    "squash_output": FLAG,
    "full_std": FLAG,
    "use_expln": FLAG,
}
CHOICES: dict[str, dict[str, list[Any]]] = {
    "sim": {
        "task": ["Isaac-Cartpole-Direct"],
        "physics": ["newton_mjwarp"],
        "threads": [2],
        "deterministic": [False],
    },
    "ppo": {
        "n_steps": [1, 2, 4, 64],
        "batch_size": [1, 2, 16, 1024, None],
        "n_minibatches": [1, 3, 7],
        "n_epochs": [1, 5],
        "learning_rate": [1e-15, "lin_1e-3", 0.5],
        "gamma": [0.0, 1.0],
        "gae_lambda": [0.0, 1.0],
        "clip_range": [1e-15, "lin_0.2", 1e3],
        "clip_range_vf": [1e-15, "lin_0.2", 1e3],
        "normalize_advantage": FLAG,
        "ent_coef": [*COEFFICIENT, -0.5],
        "vf_coef": COEFFICIENT,
        "max_grad_norm": [1e-15, 1e15],
        "use_sde": FLAG,
        "sde_sample_freq": [-1, 1, 3],
        "target_kl": [1e-15, 1e3],
        "stats_window_size": [1],
    },
    "normalize": {
        "observations": FLAG,
        "rewards": FLAG,
        "clip_observations": [1e-15, 1e15],
        "until": [1, None],
    },
    "train": {
        "num_envs": [1, 3, 20],
        "total_timesteps": [1],
        "max_iterations": [1, 2],
        "checkpoint_every": [1, None],
        "log_interval": [1, 10**9],
        "keep_all_info": FLAG,
        "export_io_descriptors": FLAG,
    },
    "env": {
        "episode_length_s": [0.01, 1, 1e6],
        "decimation": [1, 4],
        "sim.dt": [1e-4, 1 / 30, 0.5],
        "sim.gravity": [[0, 0, 0], [0.0, 0.0, -1e6]],
        "actions.joint_effort.scale": [0.0, 1e6],
        "actions.joint_effort.joint_names": [["cart_to_pole"], [".*"], []],
        "observations.policy.joint_vel_rel": [None],
        "observations.policy.history_length": [3],
        "observations.policy.concatenate_terms": [False],
        "rewards": [None],
        "rewards.alive": [None],
        "rewards.pole_pos.weight": [0.0, -1e6],
        "rewards.pole_pos.func": ["isaaclab.envs.mdp:joint_vel_l2", "numpy:mean"],
        "terminations": [None],
        "terminations.time_out": [None],
        "terminations.cart_out_of_bounds.params.bounds": [[0, 0], [-0.01, 0.01]],
        "events": [None],
        "events.reset_cart_position.mode": ["startup", "interval"],
        "events.reset_pole_position.params.position_range": [[0, 0], [-100, 100]],
        "scene.env_spacing": [0.0],
        "scene.robot.init_state.pos": [[0, 0, 0]],
        "scene.distant_light": [None],
        "is_finite_horizon": [True],
    },
    "evaluate": {"episodes": [1, 3], "num_envs": [1, 50]},
    "render": {
        "episodes": [2],
        "length": [1, 3],
        "num_envs": [2, 5],
        "width": [2, 16],
        "height": [2, 16],
        "fps": [1, 60],
    },
}


def some_of(choices: dict[str, list[Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    """A few of the keys, with one of the values of each."""
    keys = st.lists(st.sampled_from(list(choices)), max_size=most, unique=True)
    return keys.flatmap(lambda names: st.fixed_dictionaries({name: st.sampled_from(choices[name]) for name in names}))


EXPERIMENTS = st.fixed_dictionaries({section: some_of(choices, 2) for section, choices in CHOICES.items()})


@tries(2)
@given(changes=EXPERIMENTS, policy=some_of(POLICY, 2))
def test_what_the_check_lets_pass_every_stage_can_run(fresh_project: Project, changes, policy):
    fresh_project.run("git", "checkout", "--quiet", "HEAD", "--", "params.yaml")
    fresh_project.edit_params(changes | ({"ppo": changes["ppo"] | {"policy_kwargs": policy}} if policy else {}))
    if "episode_length_s" not in changes["env"]:
        fresh_project.edit_params({"env": SMALL["env"]})
    result = fresh_project.run("dvc", "repro", check=False)
    said = [
        line for line in result.stderr.splitlines() if line.startswith(("check:", "train:", "evaluate:", "render:"))
    ]
    print(result.returncode, changes, policy, said)
    assert "Traceback" not in result.stderr
    if result.returncode:
        # Whether a training diverges, nobody can tell beforehand.
        assert said[-1].startswith("check:") or "finite" in said[-1]

"""The task's own functions, on numbers worked out by hand; no simulator is needed."""

import math
from types import SimpleNamespace as Namespace
from typing import Any

import gymnasium as gym
import pytest
import torch
from isaaclab.managers import SceneEntityCfg
from my_robot import env_cfg, rewards, success


def env_with(cart: float, pole: float) -> Any:
    """Stand in for one environment with its joints at these positions."""
    data = Namespace(joint_pos=Namespace(torch=torch.tensor([[cart, pole]])))
    return Namespace(scene={"robot": Namespace(data=data, joint_names=["slider_to_cart", "cart_to_pole"])})


@pytest.mark.parametrize(("cart", "reward"), [(0.0, 1.0), (0.5, math.exp(-1)), (-0.5, math.exp(-1))])
def test_the_reward_falls_with_the_distance_of_the_cart(cart: float, reward: float):
    joint = SceneEntityCfg("robot", joint_ids=[0])
    assert rewards.centred(env_with(cart, pole=3.0), joint, width=0.5).tolist() == pytest.approx([reward])


@pytest.mark.parametrize(("cart", "pole", "balanced"), [(0.1, 0.1, True), (0.3, 0.1, False), (0.1, -0.3, False)])
def test_success_is_an_upright_pole_in_the_middle(cart: float, pole: float, balanced: bool):
    assert success.is_balanced(env_with(cart, pole)).tolist() == [balanced]


def test_the_task_is_registered_with_its_own_asset():
    assert gym.spec("My-Robot").kwargs["env_cfg_entry_point"] == "my_robot.env_cfg:MyRobotEnvCfg"
    assert env_cfg.MyRobotEnvCfg().scene.robot.spawn.usd_path == str(env_cfg.ROBOT)
    assert env_cfg.ROBOT.is_file()

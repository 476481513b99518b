"""When an episode is a success: if it lasts to its time limit, and this holds all through its last second."""

import math

import torch
from isaaclab.envs import ManagerBasedRLEnv

ANGLE = math.radians(12.0)  # of the pole, from upright
DISTANCE = 0.2  # m, of the cart, from the middle


def is_balanced(env: ManagerBasedRLEnv) -> torch.Tensor:
    """Tell where the pole is upright over a cart in the middle: bool ``[num_envs]``."""
    robot = env.scene["robot"]
    cart, pole = (
        robot.data.joint_pos.torch[:, robot.joint_names.index(name)] for name in ("slider_to_cart", "cart_to_pole")
    )
    return (pole.abs() <= ANGLE) & (cart.abs() <= DISTANCE)

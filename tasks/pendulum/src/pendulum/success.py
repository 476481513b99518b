"""When an episode of the double pendulum is a success."""

from typing import Any

import torch
from isaaclab_tasks.core.pendulum.pendulum_marl_env import links_upright

JOINTS = ("cart_to_pole", "pole_to_pendulum")


def is_upright(env: Any) -> torch.Tensor:
    """Tell where both links are upright, by the angle of Isaac Lab's own success rate: bool ``[num_envs]``."""
    robot = env.scene["robot"]
    pole, pendulum = (robot.data.joint_pos.torch[:, robot.joint_names.index(name)] for name in JOINTS)
    return links_upright(pole, pendulum, env.cfg.success_upright_angle)

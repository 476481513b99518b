"""When an episode of the ant is a success."""

from typing import Any

import torch

DISTANCE = 10.0  # m


def has_walked(env: Any) -> torch.Tensor:
    """Tell which ants are at least ``DISTANCE`` ahead of their start, towards the target: bool ``[num_envs]``."""
    position = env.scene["robot"].data.root_pos_w.torch - env.scene.env_origins
    return position[:, 0] >= DISTANCE

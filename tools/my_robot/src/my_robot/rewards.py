"""Rewards of the task's own. Isaac Lab multiplies each by its weight and by the seconds of a step."""

import torch
from isaaclab.envs import ManagerBasedRLEnv
from isaaclab.managers import SceneEntityCfg


def centred(env: ManagerBasedRLEnv, asset_cfg: SceneEntityCfg, width: float) -> torch.Tensor:
    """Reward a joint for being near 0: 1 there, 0.37 at ``width`` [m or rad] from it.

    Returns:
        ``[num_envs]``.
    """
    position = env.scene[asset_cfg.name].data.joint_pos.torch[:, asset_cfg.joint_ids]
    return torch.exp(-((position / width) ** 2)).mean(dim=1)

"""Registers the task My-Robot: a cartpole on a file of its own, which is to balance in the middle of the rail."""

import gymnasium as gym

gym.register(
    id="My-Robot",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{__name__}.env_cfg:MyRobotEnvCfg",
        "sb3_cfg_entry_point": f"{__name__}:sb3_ppo_cfg.yaml",
        "success_entry_point": f"{__name__}.success:is_balanced",
    },
)

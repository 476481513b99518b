"""Isaac Lab's task Isaac-Ant with the ant of the package newton, which has the same joints and needs no download."""

import gymnasium as gym

gym.register(
    id="Newton-Ant",
    entry_point="isaaclab.envs:ManagerBasedRLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": "ant.env_cfg:AntEnvCfg",
        "sb3_cfg_entry_point": "isaaclab_tasks.core.locomotion.ant.agents:sb3_manager_ppo_cfg.yaml",
        "success_entry_point": "ant.success:has_walked",
    },
)

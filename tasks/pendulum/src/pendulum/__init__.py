"""Isaac Lab's task Isaac-Pendulum-MARL-Direct on a robot of its own, and with settings for SB3.

Of its two agents, one moves the cart and one turns the upper link. SB3 trains them as one that does both.
"""

import gymnasium as gym

gym.register(
    id="Double-Pendulum",
    entry_point="isaaclab_tasks.core.pendulum:PendulumMARLEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": "pendulum.env_cfg:PendulumEnvCfg",
        "sb3_cfg_entry_point": "pendulum:sb3_ppo_cfg.yaml",
        "success_entry_point": "pendulum.success:is_upright",
    },
)

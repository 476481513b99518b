"""The configuration of the double pendulum's environments."""

from pathlib import Path

from isaaclab.utils import configclass
from isaaclab_tasks.core.pendulum.pendulum_marl_env_cfg import PendulumMARLEnvCfg

PENDULUM = Path(__file__).parent / "data" / "double_pendulum.usda"


@configclass
class PendulumEnvCfg(PendulumMARLEnvCfg):
    """Isaac-Pendulum-MARL-Direct with another file for the robot, of the same joints."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scene.robot.spawn.usd_path = str(PENDULUM)

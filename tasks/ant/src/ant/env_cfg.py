"""The configuration of the ant's environments."""

from pathlib import Path

import newton
from isaaclab.utils import configclass
from isaaclab_tasks.core.locomotion.ant.ant_manager_env_cfg import AntEnvCfg as IsaacAntEnvCfg

ANT = Path(newton.__file__).parent / "examples" / "assets" / "ant.usda"


@configclass
class AntEnvCfg(IsaacAntEnvCfg):
    """Isaac-Ant with another file for the robot, of the same joints and masses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scene.robot.spawn.usd_path = str(ANT)

"""The configuration of the environments: Isaac Lab's cartpole, with another file for the robot and one more reward."""

from pathlib import Path

from isaaclab.managers import RewardTermCfg, SceneEntityCfg
from isaaclab.utils import configclass
from isaaclab_tasks.core.cartpole.cartpole_manager_env_cfg import CartpoleEnvCfg, RewardsCfg

from . import rewards

ROBOT = Path(__file__).parent / "data" / "my_robot.usda"
CART = SceneEntityCfg("robot", joint_names=["slider_to_cart"])


@configclass
class MyRobotRewardsCfg(RewardsCfg):
    """The cartpole's rewards, and one for a cart in the middle."""

    centred = RewardTermCfg(func=rewards.centred, weight=1.0, params={"asset_cfg": CART, "width": 0.5})


@configclass
class MyRobotEnvCfg(CartpoleEnvCfg):
    """What `params.yaml` can change under `env`, by these names."""

    rewards: MyRobotRewardsCfg = MyRobotRewardsCfg()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scene.robot.spawn.usd_path = str(ROBOT)

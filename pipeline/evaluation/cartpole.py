"""What is measured of a cartpole beside its returns: the pole's angle, the cart's way and effort; and its success."""

from __future__ import annotations

import math
from typing import Any

import torch

from pipeline.simulation.tensor_env import TensorEnv

CART, POLE = "slider_to_cart", "cart_to_pole"
UPRIGHT = math.radians(12.0)


def find_cartpole(env: TensorEnv) -> Any:
    """Find the articulation with the joints of a cartpole, and no more; None in a task that has none."""
    articulations = env.unwrapped.scene.articulations.values()
    return next((robot for robot in articulations if {CART, POLE} == set(robot.joint_names)), None)


class CartpoleRecord:
    """What is measured of a cartpole in the current episode of each environment, as tensors ``[num_envs]`` by name."""

    def __init__(self, robot: Any, zeros: torch.Tensor) -> None:
        self.robot = robot
        self.angle = zeros  # the pole's [rad]; before_step() measures it
        names = (
            *("angle_squared", "effort_squared"),  # sums of the pole's angle [rad] and the cart's effort [N], squared
            "displacement",  # the cart's largest distance from the middle of the rail [m]
        )
        self.values = {name: zeros.clone() for name in names}

    def is_upright(self, _env: Any) -> torch.Tensor:
        """Tell whether the pole stands, the cartpole's criterion of success: bool ``[num_envs]``."""
        return self.angle.abs() <= UPRIGHT

    def before_step(self) -> None:
        """Record the state before the step: after it, environments whose episode ended are in their next one."""
        values, positions = self.values, self.robot.data.joint_pos
        pole, cart = self._joint(positions, POLE), self._joint(positions, CART)
        self.angle = torch.remainder(pole + math.pi, 2 * math.pi) - math.pi
        values["angle_squared"] += self.angle**2
        values["displacement"] = torch.maximum(values["displacement"], cart.abs())

    def after_step(self) -> None:
        """Record the effort of the action."""
        self.values["effort_squared"] += self._joint(self.robot.data.joint_effort_target, CART) ** 2

    def row(self, index: int, length: float) -> dict[str, float]:
        """Summarize the episode of ``length`` steps that environment ``index`` has just finished."""
        values = {name: tensor[index].item() for name, tensor in self.values.items()}
        return {
            "pole_angle_rms": math.sqrt(values["angle_squared"] / length),
            "cart_displacement_max": values["displacement"],
            "effort_rms": math.sqrt(values["effort_squared"] / length),
        }

    def _joint(self, values: Any, name: str) -> torch.Tensor:
        return values.torch.double()[:, self.robot.joint_names.index(name)]

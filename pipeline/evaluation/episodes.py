"""Evaluation episodes: full ones, chosen without bias, and what is measured in each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pipeline.simulation.tensor_env import PolicyFn, TensorEnv

CART, POLE = "slider_to_cart", "cart_to_pole"
UPRIGHT = math.radians(12.0)
UPRIGHT_SECONDS = 1.0


def play_episodes(env: TensorEnv, act: PolicyFn, episodes: int) -> list[dict[str, Any]]:
    """Play ``episodes`` full episodes.

    Every environment plays a number of episodes that is fixed beforehand, as in SB3's ``evaluate_policy``. To take the
    first that end, in any environment, would prefer short episodes.

    Args:
        env: The running environments.
        act: From observations ``[num_envs, observations]`` to actions ``[num_envs, actions]``.
        episodes: How many, of all environments together.

    Returns:
        One row an episode, ordered by environment, then time; ``share`` is the share of the episodes that returned no
        more, which makes the rows a plot of the distribution.
    """
    remaining = (episodes + torch.arange(env.num_envs)) // env.num_envs
    finished: list[list[dict[str, Any]]] = [[] for _ in range(env.num_envs)]
    record = EpisodeRecord(env)
    observations = env.reset_twice()
    with tqdm(total=episodes, unit="episode", desc="evaluate") as bar:
        while remaining.any():
            record.before_step()
            observations, rewards, dones, ended = env.step(act(observations))
            record.after_step(rewards)
            for index in dones.nonzero().flatten().tolist():
                if remaining[index]:
                    finished[index].append(record.row(index, survived=not ended.terminated[index]))
                    remaining[index] -= 1
                    bar.update()
            record.clear(dones)
    rows = [row for rows in finished for row in rows]
    order = np.argsort([row["return"] for row in rows], kind="stable")
    shares = np.empty(len(rows))
    shares[order] = np.arange(1, len(rows) + 1) / len(rows)
    return [{"episode": number} | row | {"share": shares[number]} for number, row in enumerate(rows)]


def cartpole(env: TensorEnv) -> Any:
    """Find the articulation with a cartpole's joints; None in a task that has none."""
    articulations = env.unwrapped.scene.articulations.values()
    return next((robot for robot in articulations if {CART, POLE} <= set(robot.joint_names)), None)


class EpisodeRecord:
    """What is measured in the current episode of each environment, as tensors ``[num_envs]`` by name.

    The joints are those of the cartpole; of a task without one, only returns and lengths are recorded.
    """

    def __init__(self, env: TensorEnv) -> None:
        self.robot = cartpole(env)
        self.steps_for_success = round(UPRIGHT_SECONDS / env.unwrapped.step_dt)
        zeros = torch.zeros(env.num_envs, dtype=torch.float64, device=env.unwrapped.device)
        names = (
            *("return", "length"),  # sums of the rewards and the steps
            *("angle_squared", "effort_squared"),  # sums of the pole's angle [rad] and the cart's effort [N], squared
            "displacement",  # the cart's largest distance from the middle of the rail [m]
            "steps_upright",  # since the pole was last out of UPRIGHT
        )
        self.values = {name: zeros.clone() for name in names}

    def before_step(self) -> None:
        """Record the state before the step: after it, environments whose episode ended are in their next one."""
        if self.robot is None:
            return
        position = self.robot.data.joint_pos.torch.double()
        angle = self._joint(position, POLE)
        angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        values = self.values
        values["angle_squared"] += angle**2
        values["displacement"] = torch.maximum(values["displacement"], self._joint(position, CART).abs())
        values["steps_upright"] = torch.where(angle.abs() <= UPRIGHT, values["steps_upright"] + 1, 0.0)

    def after_step(self, reward: torch.Tensor) -> None:
        """Record the reward and the effort of the action."""
        self.values["return"] += reward
        self.values["length"] += 1
        if self.robot is not None:
            effort = self.robot.data.joint_effort_target.torch.double()
            self.values["effort_squared"] += self._joint(effort, CART) ** 2

    def row(self, index: int, *, survived: bool) -> dict[str, Any]:
        """Summarize the episode that environment ``index`` has just finished, as a row.

        An episode is a success if it lasts to its end AND the pole was upright all through the last second. Isaac Lab
        asks only for the first, and so counts a pole that hangs down as a success.
        """
        values = {name: tensor[index].item() for name, tensor in self.values.items()}
        row = {"environment": index, "return": values["return"], "length": int(values["length"])}
        if self.robot is None:
            return row
        return row | {
            "success": int(survived and values["steps_upright"] >= self.steps_for_success),
            "pole_angle_rms": math.sqrt(values["angle_squared"] / values["length"]),
            "cart_displacement_max": values["displacement"],
            "effort_rms": math.sqrt(values["effort_squared"] / values["length"]),
        }

    def clear(self, done: torch.Tensor) -> None:
        """Reset the values of the environments whose episode has ended."""
        for values in self.values.values():
            values[done] = 0.0

    def _joint(self, values: torch.Tensor, name: str) -> torch.Tensor:
        return values[:, self.robot.joint_names.index(name)]

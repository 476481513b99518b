"""Whole episodes of a frozen policy, counted without bias, and what is measured in each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pipeline.environment import TensorEnv
from pipeline.metrics import bootstrap_interval, interquartile_mean

CART, POLE = "slider_to_cart", "cart_to_pole"
UPRIGHT = math.radians(12.0)
UPRIGHT_SECONDS = 1.0

Actor = Callable[[torch.Tensor], torch.Tensor]


def play_episodes(env: TensorEnv, actor: Actor, episodes: int) -> list[dict[str, Any]]:
    """Play ``episodes`` whole episodes.

    Every environment plays a number of episodes that is fixed beforehand. The first so many to finish, wherever they
    are, would be the short ones (as in SB3's ``evaluate_policy``).

    Args:
        env: The running environments.
        actor: From observations ``[num_envs, observations]`` to actions ``[num_envs, actions]``.
        episodes: How many, of all environments together.

    Returns:
        One row an episode, ordered by environment, then time; ``share`` is the share of the episodes that returned no
        more, which makes the rows a plot of the distribution.
    """
    remaining = (episodes + torch.arange(env.num_envs)) // env.num_envs
    finished: list[list[dict[str, Any]]] = [[] for _ in range(env.num_envs)]
    record = EpisodeRecord(env)
    observations = reset(env)
    with tqdm(total=episodes, unit="episode", desc="evaluate") as bar:
        while remaining.any():
            record.before_step()
            observations, rewards, dones, ended = env.step(actor(observations))
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


def reset(env: TensorEnv) -> torch.Tensor:
    """Start an episode in every environment, and return the observations.

    Twice, because Isaac Lab's first reset leaves all joints at rest instead of drawing their velocities.
    """
    env.reset()
    return env.reset()


def cartpole(env: TensorEnv) -> Any:
    """The articulation with a cartpole's joints; None in a task that has none."""
    articulations = env.unwrapped.scene.articulations.values()
    return next((robot for robot in articulations if {CART, POLE} <= set(robot.joint_names)), None)


class EpisodeRecord:
    """Running sums over the current episode of each environment, all of shape ``[num_envs]``.

    The joints are those of the cartpole; of a task without one, only returns and lengths are recorded.
    """

    def __init__(self, env: TensorEnv) -> None:
        self.robot = cartpole(env)
        self.upright_steps = round(UPRIGHT_SECONDS / env.unwrapped.step_dt)
        zeros = torch.zeros(env.num_envs, dtype=torch.float64, device=env.unwrapped.device)
        names = ("return", "length", "angle_squared", "displacement", "effort_squared", "upright")
        self.sums = {name: zeros.clone() for name in names}

    def before_step(self) -> None:
        """Record the state that the next action is taken in; after the step, finished environments are reset."""
        if self.robot is None:
            return
        position = self.robot.data.joint_pos.torch.double()
        angle = self._joint(position, POLE)
        angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        sums = self.sums
        sums["angle_squared"] += angle**2
        sums["displacement"] = torch.maximum(sums["displacement"], self._joint(position, CART).abs())
        sums["upright"] = torch.where(angle.abs() <= UPRIGHT, sums["upright"] + 1, 0.0)

    def after_step(self, reward: torch.Tensor) -> None:
        """Record what the action did."""
        self.sums["return"] += reward
        self.sums["length"] += 1
        if self.robot is not None:
            effort = self.robot.data.joint_effort_target.torch.double()
            self.sums["effort_squared"] += self._joint(effort, CART) ** 2

    def row(self, index: int, *, survived: bool) -> dict[str, Any]:
        """The episode that environment ``index`` has just finished.

        An episode succeeds when it lasts to its end AND the pole was upright all through the last second. Isaac Lab
        asks for the first alone, which a pole that hangs down fulfils too.
        """
        sums = {name: values[index].item() for name, values in self.sums.items()}
        row = {"environment": index, "return": sums["return"], "length": int(sums["length"])}
        if self.robot is None:
            return row
        return row | {
            "success": int(survived and sums["upright"] >= self.upright_steps),
            "pole_angle_rms": math.sqrt(sums["angle_squared"] / sums["length"]),
            "cart_displacement_max": sums["displacement"],
            "effort_rms": math.sqrt(sums["effort_squared"] / sums["length"]),
        }

    def clear(self, done: torch.Tensor) -> None:
        """Start anew where an episode has ended."""
        for values in self.sums.values():
            values[done] = 0.0

    def _joint(self, values: torch.Tensor, name: str) -> torch.Tensor:
        return values[:, self.robot.joint_names.index(name)]


def summarize(rows: list[dict[str, Any]], *, seed: int) -> dict[str, float]:
    """Summarize episodes as metrics; ``seed`` is that of the bootstrap."""
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    returns = columns["return"]
    low, high = bootstrap_interval(returns, seed=seed)
    metrics = {
        "return_mean": returns.mean(),
        "return_std": returns.std(),
        "return_iqm": interquartile_mean(returns),
        "return_low": low,
        "return_high": high,
        "length_mean": columns["length"].mean(),
    }
    if "success" in columns:
        metrics |= {
            "success_rate": columns["success"].mean(),
            "pole_angle_rms": _over_all_steps(columns, "pole_angle_rms"),
            "cart_displacement_max": columns["cart_displacement_max"].max(),
            "effort_rms": _over_all_steps(columns, "effort_rms"),
        }
    return {name: float(value) for name, value in metrics.items()}


def _over_all_steps(columns: dict[str, np.ndarray], name: str) -> float:
    """The root mean square over the steps of all episodes, from that of each episode."""
    return math.sqrt(np.average(columns[name] ** 2, weights=columns["length"]))

"""Evaluation episodes: full ones, chosen without bias, and what is measured in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch
from scipy.stats import rankdata
from tqdm import tqdm

from pipeline.evaluation.cartpole import CartpoleRecord, find_cartpole
from pipeline.simulation.tensor_env import PolicyFn, TensorEnv
from pipeline.simulation.tracked import find_function

SUCCESS = "success_entry_point"  # what a task registers beside its configuration: module:function
SUCCESS_SECONDS = 1.0

# From the task's environment to which of its environments are as they should be: bool [num_envs].
Criterion = Callable[[Any], torch.Tensor]


def play_episodes(
    env: TensorEnv, act: PolicyFn, episodes: int, criterion: Criterion | None = None
) -> list[dict[str, Any]]:
    """Play ``episodes`` full episodes.

    Every environment plays a number of episodes that is fixed beforehand, as in SB3's ``evaluate_policy``. To take the
    first that end, in any environment, would prefer short episodes.

    Args:
        env: The running environments.
        act: From observations ``[num_envs, observations]`` to actions ``[num_envs, actions]``.
        episodes: How many, of all environments together.
        criterion: The task's own, from :func:`find_criterion`.

    Returns:
        One row an episode, ordered by environment, then time; ``share`` is the share of the episodes that returned no
        more, which makes the rows a plot of the distribution.
    """
    remaining = (episodes + torch.arange(env.num_envs)) // env.num_envs
    finished: list[list[dict[str, Any]]] = [[] for _ in range(env.num_envs)]
    record = EpisodeRecord(env, criterion)
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
    shares = rankdata([row["return"] for row in rows], "ordinal") / len(rows)
    return [{"episode": number} | row | {"share": shares[number]} for number, row in enumerate(rows)]


def find_criterion(task: str) -> Criterion | None:
    """Find the criterion of success that a task registers as ``success_entry_point``.

    Raises:
        UserError: If it is no function that DVC sees every change of.
    """
    name = gym.spec(task.rpartition(":")[2]).kwargs.get(SUCCESS)
    return find_function(f"{SUCCESS} of {task}", name) if name else None


class EpisodeRecord:
    """What is measured in the current episode of each environment, as tensors ``[num_envs]`` by name."""

    def __init__(self, env: TensorEnv, criterion: Criterion | None) -> None:
        self.env = env
        zeros = torch.zeros(env.num_envs, dtype=torch.float64, device=env.unwrapped.device)
        names = ("return", "length", "good")  # sums of the rewards and the steps; good steps since the last bad one
        self.values = {name: zeros.clone() for name in names}
        robot = find_cartpole(env)
        self.cartpole = CartpoleRecord(robot, zeros) if robot else None
        self.criterion = criterion or (self.cartpole.is_upright if self.cartpole else None)
        self.steps_for_success = round(SUCCESS_SECONDS / env.unwrapped.step_dt)

    def before_step(self) -> None:
        """Record the state before the step: after it, environments whose episode ended are in their next one."""
        if self.cartpole:
            self.cartpole.before_step()
        if self.criterion:
            self.values["good"] = torch.where(self.criterion(self.env.task), self.values["good"] + 1, 0.0)

    def after_step(self, reward: torch.Tensor) -> None:
        """Record the reward and the effort of the action."""
        self.values["return"] += reward
        self.values["length"] += 1
        if self.cartpole:
            self.cartpole.after_step()

    def row(self, index: int, *, survived: bool) -> dict[str, Any]:
        """Summarize the episode that environment ``index`` has just finished, as a row.

        An episode is a success if it lasts to its time limit AND the task's criterion held all through the last second:
        a cartpole's pole was upright. Isaac Lab asks only for the first, and so counts a pole that hangs down as a
        success. Of a task without a criterion, the row says only whether the episode lasted: ``survived``.
        """
        values = {name: tensor[index].item() for name, tensor in self.values.items()}
        row = {"environment": index, "return": values["return"], "length": int(values["length"])}
        if self.criterion:
            row["success"] = int(survived and values["good"] >= self.steps_for_success)
        else:
            row["survived"] = int(survived)
        return row | (self.cartpole.row(index, values["length"]) if self.cartpole else {})

    def clear(self, done: torch.Tensor) -> None:
        """Reset the values of the environments whose episode has ended."""
        for values in (*self.values.values(), *(self.cartpole.values.values() if self.cartpole else ())):
            values[done] = 0.0

"""A trial of running environments: a step, and what a task's own functions return, before hours are spent on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from isaaclab.envs import ManagerBasedRLEnv

from pipeline.evaluation.episodes import SUCCESS, find_criterion
from pipeline.experiment.errors import UserError
from pipeline.policy.schema import Space
from pipeline.simulation.tensor_env import TensorEnv
from pipeline.simulation.tracked import place_of


def try_out(env: TensorEnv, task: str) -> tuple[Space, Space]:
    """Take a step, and call the task's rewards and its criterion of success.

    Returns:
        The spaces of the observations and of the actions.

    Raises:
        UserError: If a space is of a kind that no policy here can have, the step fails or is not finite, or a function
            of the task does not return a value for each environment.
    """
    try:
        observations, actions = map(Space.from_gymnasium, (env.observation_space, env.action_space))
    except ValueError as error:
        raise UserError(f"{task}: {error}") from None
    try:
        env.reset_twice()
        _check_returned(env, task)  # first: a step fails of a wrong shape, too, and does not say whose
        seen, rewards, *_ = env.step(torch.zeros(env.num_envs, *actions.shape, device=env.sim_device))
        values = {"an observation": seen, **dict(_returned(env.task, task)), "a reward": rewards}
    except Exception as error:
        raise UserError(f"{task} takes no step: {type(error).__name__}: {error}{place_of(error)}") from None
    for name, value in values.items():
        if not value.isfinite().all():
            raise UserError(f"{name} of {task} is not finite after a step; look at its code, and at what env changes")
    return observations, actions


def _check_returned(env: TensorEnv, task: str) -> None:
    for name, value in _returned(env.task, task):
        given = f"{value.dtype} {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        kind = "a bool" if name.startswith(SUCCESS) else "a number"
        if not given.endswith(f" [{env.num_envs}]") or (kind == "a bool" and value.dtype != torch.bool):
            raise UserError(
                f"{name} should return {kind} for each environment, as a tensor [num_envs] (given: {given})"
            )


def _returned(env: Any, task: str) -> Iterator[tuple[str, Any]]:
    """Call the functions of a task: their names, and what they return."""
    if isinstance(env, ManagerBasedRLEnv):
        manager = env.reward_manager
        for name in manager.active_terms:
            term = manager.get_term_cfg(name)
            yield f"the reward {name}", term.func(env, **term.params)
    if criterion := find_criterion(task):
        yield f"{SUCCESS} of {task}", criterion(env)

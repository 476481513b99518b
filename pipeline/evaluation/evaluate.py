"""The evaluation of a policy by the params' section ``evaluate``, for the stage and for ``make evaluate``."""

from __future__ import annotations

from typing import Any

from pipeline.evaluation.episodes import find_criterion, play_episodes
from pipeline.evaluation.statistics import summarize
from pipeline.experiment.params import Evaluate, Sim
from pipeline.policy.policy import Policy
from pipeline.simulation import configuration
from pipeline.simulation.tensor_env import TensorEnv


def configure(sim: Sim, overrides: dict[str, Any], settings: Evaluate) -> Any:
    """Configure the environments for ``settings``; ``overrides`` is the params' section ``env``."""
    num_envs = min(settings.num_envs, settings.episodes)
    cfg, _ = configuration.configure(sim, overrides, num_envs=num_envs, seed=settings.seed)
    return cfg


def evaluate_policy(
    env: TensorEnv, policy: Policy, settings: Evaluate
) -> tuple[list[dict[str, Any]], dict[str, float | str]]:
    """Play full episodes with deterministic actions, whatever was played in ``env`` before.

    Args:
        env: The running environments, configured by :func:`configure`.
        policy: A policy for this task, its observations and its actions.
        settings: The params' section ``evaluate``.

    Returns:
        The episodes, a row each, and the metrics over all of them.
    """
    env.seed(settings.seed)  # as when the environments were made
    env.task.common_step_counter = 0  # what a curriculum goes by
    episodes = play_episodes(env, policy.for_inference(env.sim_device), settings.episodes, find_criterion(policy.task))
    return episodes, {**summarize(episodes, seed=settings.seed), "policy_sha256": policy.sha256}

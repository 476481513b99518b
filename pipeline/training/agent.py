"""From the params, and the agent that Isaac Lab registers for the task, to PPO in its normalised environments."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import nn

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Normalize, Ppo, Train, check_batch_size
from pipeline.policy.network import check_network
from pipeline.policy.sb3_arguments import policy_arguments, ppo_arguments
from pipeline.policy.schema import first_finding
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.simulation.tensor_env import TensorEnv
from pipeline.training.initial_policy import Start, load_start

# The activations with the same bits on every machine (tests/bits.py). Softplus and Mish, for two, use the C library's
# logarithm in float32, which glibc rounds differently since 2.41.
EXACT_ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid"),
    *("ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softsign", "Tanh"),
)

# What Isaac Lab's agent files hold beside PPO's arguments; the params have keys of their own for it.
NOT_PPO = ("seed", "n_timesteps", "device", "normalize_input", "normalize_value", "clip_obs")


def resolve_settings(ppo: Ppo, agent: dict[str, Any], num_envs: int, *, deterministic: bool) -> dict[str, Any]:
    """Merge the registered agent's settings with the params' section ``ppo``, which wins.

    Args:
        ppo: The params' section ``ppo``.
        agent: The settings that Isaac Lab registers for the task.
        num_envs: Number of environments.
        deterministic: Whether to refuse activations whose bits depend on the machine.

    Returns:
        PPO's arguments in full as plain values (``lin_3e-3``, ``nn.ELU``), for YAML and JSON.

    Raises:
        UserError: If the mini-batches do not divide the rollout, or are of one sample whose advantage is to be
            normalised; if a policy cannot be built or trained.
    """
    given = ppo.model_dump(exclude_none=True)
    registered = {key: _number(value) for key, value in copy.deepcopy(agent).items() if key not in (*NOT_PPO, *given)}
    _check_registered(registered)
    settings = registered | given
    minibatches = settings.pop("n_minibatches", None)
    needed = {"n_steps", "gamma"} if minibatches else {"n_steps", "gamma", "batch_size"}
    if missing := needed - settings.keys():
        raise UserError(f"sim.agent: the registered agent has no {min(missing)}; set it there, or under ppo")
    if minibatches and "batch_size" not in given:
        settings["batch_size"] = max(1, settings["n_steps"] * num_envs // minibatches)
    try:
        check_batch_size(settings["batch_size"], settings["n_steps"], num_envs)
    except ValueError as error:
        raise UserError(f"params.yaml: {error}") from None
    if settings["batch_size"] == 1 and settings.get("normalize_advantage", True):
        raise UserError("ppo.batch_size: 1 sample has no advantages to normalise; set ppo.normalize_advantage to false")
    try:
        check_network(settings)
    except ValueError as error:
        raise UserError(f"ppo.{error}") from None
    _check_activation(policy_arguments(settings).get("activation_fn"), deterministic=deterministic)
    return settings


def _number(value: Any) -> Any:
    """Return the number that ``value`` is the text of: Isaac Lab reads YAML 1.1, in which 1e-3 is a text."""
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _check_registered(registered: dict[str, Any]) -> None:
    """Hold what is registered to what the params have been held to."""
    try:
        Ppo.model_validate(registered)
    except ValidationError as error:
        raise UserError(f"sim.agent: the registered agent's {first_finding(error)}; set it under ppo") from None


def _check_activation(activation: type[nn.Module] | None, *, deterministic: bool) -> None:
    """Refuse an activation whose bits depend on the machine."""
    if deterministic and activation and activation not in [getattr(nn, name) for name in EXACT_ACTIVATIONS]:
        raise UserError(
            f"ppo.policy_kwargs.activation_fn: {activation.__name__} may give other bits on another machine; take "
            f"one of {', '.join(EXACT_ACTIVATIONS)}, or set sim.deterministic to false"
        )


def describe(
    settings: dict[str, Any], normalize: Normalize, *, seed: int, device: str, timesteps: int
) -> dict[str, Any]:
    """Describe the run's settings in the form of Isaac Lab's agent files."""
    return settings | {
        "seed": seed,
        "device": device,
        "n_timesteps": timesteps,
        "normalize_input": normalize.observations,
        "normalize_value": normalize.rewards,
        "clip_obs": normalize.clip_observations,
        "normalize_until": normalize.until,
    }


def total_timesteps(train: Train, n_steps: int) -> int:
    """Compute the length of the training; ``train.max_iterations`` counts rollouts and has precedence."""
    if train.max_iterations is None:
        return train.total_timesteps
    return train.max_iterations * n_steps * train.num_envs


def build_ppo(
    settings: dict[str, Any], env: TensorEnv, normalize: Normalize, *, seed: int, initial: Start | None = None
) -> TensorPPO:
    """Construct PPO in VecNormalize, as Isaac Lab does: rewards scaled, not clipped.

    Args:
        settings: PPO's arguments as :func:`resolve_settings` returns them.
        env: The running environments.
        normalize: The params' section ``normalize``.
        seed: Seed of the weights and the training.
        initial: What to start from, from :func:`initial_policy`.
    """
    normalized = TensorNormalize(
        env,
        norm_obs=normalize.observations,
        norm_reward=normalize.rewards,
        clip_obs=normalize.clip_observations,
        clip_reward=np.inf,
        gamma=settings["gamma"],
    )
    model = TensorPPO(**ppo_arguments(settings), env=normalized, seed=seed, device=env.sim_device)
    if initial:
        load_start(model, initial)
    return model

"""From the params, and the agent that Isaac Lab registers for the task, to PPO in its normalised environments."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn, optim

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Normalize, Ppo, Train, check_batch_size
from pipeline.experiment.paths import RANDOM_WEIGHTS
from pipeline.policy.policy import JSON_FILE, Policy, PolicyError
from pipeline.policy.sb3_arguments import policy_arguments, ppo_arguments
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.simulation.tensor_env import TensorEnv
from pipeline.training.training_state import load_policy

# The activations with the same bits on every machine (tests/bits.py). Softplus and Mish, for two, use the C library's
# logarithm in float32, which glibc rounds differently since 2.41.
EXACT_ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid"),
    *("ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softsign", "Tanh"),
)
# Those with a fused step for all weights, which also clips the gradients (`pipeline/ppo/update.py`).
OPTIMIZERS = ("Adam", "AdamW", "SGD")

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
        UserError: If the mini-batches do not divide the rollout, or SB3 cannot build such a policy.
    """
    given = ppo.model_dump(exclude_none=True)
    settings = {key: value for key, value in copy.deepcopy(agent).items() if key not in NOT_PPO} | given
    minibatches = settings.pop("n_minibatches", None)
    if minibatches and "batch_size" not in given:
        settings["batch_size"] = max(1, settings["n_steps"] * num_envs // minibatches)
    try:
        check_batch_size(settings["batch_size"], settings["n_steps"], num_envs)
    except ValueError as error:
        raise UserError(f"params.yaml: {error}") from None
    _check_policy(settings)
    _check_classes(policy_arguments(settings), deterministic=deterministic)
    return settings


def _check_classes(arguments: dict[str, Any], *, deterministic: bool) -> None:
    """Refuse an optimizer that the update does not know, and an activation whose bits depend on the machine."""
    optimizer, activation = (arguments.get(name) for name in ("optimizer_class", "activation_fn"))
    if optimizer and optimizer not in [getattr(optim, name) for name in OPTIMIZERS]:
        raise UserError(
            f"ppo.policy_kwargs.optimizer_class: should be one of {', '.join(OPTIMIZERS)} (given: {optimizer.__name__})"
        )
    if deterministic and activation and activation not in [getattr(nn, name) for name in EXACT_ACTIVATIONS]:
        raise UserError(
            f"ppo.policy_kwargs.activation_fn: {activation.__name__} may give other bits on another machine; take "
            f"one of {', '.join(EXACT_ACTIVATIONS)}, or set sim.deterministic to false"
        )


def _check_policy(settings: dict[str, Any]) -> None:
    """Build a small policy with ``policy_kwargs``, for SB3 itself to refuse them before the simulator starts."""
    space = Box(-1.0, 1.0, (1,))
    try:
        use_sde = settings.get("use_sde", False)
        policy = ActorCriticPolicy(space, space, lambda _: 0.0, use_sde=use_sde, **policy_arguments(settings))
        if not all(weights.numel() for weights in policy.parameters()):
            raise ValueError("it has a layer without units")
    except (AttributeError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"ppo.policy_kwargs: SB3 cannot build a policy from {settings['policy_kwargs']}: {reason}"
        ) from None


def initial_policy(init_from: str, task: str, settings: dict[str, Any], normalize: Normalize) -> Policy | None:
    """Load the trained policy that ``train.init_from`` names; None for random weights.

    Raises:
        UserError: If it cannot be read, was trained for another task, has other layers than ``settings`` ask for, or
            was trained on normalised observations where ``normalize`` leaves them as they are, or the reverse.
    """
    folder = Path(init_from)
    if init_from == RANDOM_WEIGHTS:
        return None
    if not folder.is_dir():
        raise UserError(f"train.init_from: should be {RANDOM_WEIGHTS} or a folder with a policy (given: {folder})")
    try:
        policy = Policy.load(folder)
    except PolicyError as error:
        raise UserError(f"train.init_from: {error}") from None
    if policy.task != task:
        raise UserError(f"train.init_from: the policy was trained for the task {policy.task}, not {task}")
    layers = {name: list(weights.shape) for name, weights in policy.weights.items()}
    asked = policy.model_copy(update={"agent": settings}).network().state_dict()
    if layers != {name: list(weights.shape) for name, weights in asked.items()}:
        raise UserError(
            "train.init_from: the policy has other layers than ppo asks for; set ppo.policy_kwargs and ppo.use_sde "
            f"as in {folder / JSON_FILE}"
        )
    if normalize.observations != bool(policy.normalization and policy.normalization.observations):
        raise UserError(
            f"train.init_from: set normalize.observations to {str(not normalize.observations).lower()}, as the "
            "policy was trained"
        )
    return policy


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
    settings: dict[str, Any], env: TensorEnv, normalize: Normalize, *, seed: int, initial: Policy | None = None
) -> TensorPPO:
    """Construct PPO in VecNormalize, as Isaac Lab does: rewards scaled, not clipped.

    Args:
        settings: PPO's arguments as :func:`resolve_settings` returns them.
        env: The running environments.
        normalize: The params' section ``normalize``.
        seed: Seed of the weights and the training.
        initial: A policy to start from, from :func:`initial_policy`.
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
        load_policy(model, initial)
    return model

"""From the params and the agent that Isaac Lab registers for the task to a PPO and its normalised environments."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn, optim

from pipeline.description import policy_arguments, ppo_arguments
from pipeline.environment import TensorEnv
from pipeline.errors import UserError
from pipeline.normalize import TensorNormalize
from pipeline.params import RANDOM_WEIGHTS, Params, Sim, check_batch_size
from pipeline.policy import JSON_FILE, Policy, PolicyError
from pipeline.ppo import TensorPPO

# The activations with the same bits on every machine (tests/bits.py). Softplus and Mish, for two, use the C library's
# logarithm in float32, which glibc rounds differently since 2.41.
EXACT_ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid"),
    *("ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softsign", "Tanh"),
)
# Those that torch steps for all weights in one call, with the gradients clipped on the way (`pipeline.update`).
OPTIMIZERS = ("Adam", "AdamW", "SGD")

# What Isaac Lab's agent files hold beside PPO's arguments; the params have keys of their own for it.
NOT_PPO = ("seed", "n_timesteps", "device", "normalize_input", "normalize_value", "clip_obs")


def resolve_settings(params: Params, agent: dict[str, Any]) -> dict[str, Any]:
    """Merge the registered agent's settings with ``ppo``, which wins.

    Args:
        params: The params.
        agent: The settings that Isaac Lab registers for the task.

    Returns:
        PPO's arguments as plain values (``lin_3e-3``, ``nn.ELU``), in full enough to be written to YAML and read again.

    Raises:
        UserError: If the mini-batches do not divide the rollout, or SB3 cannot build such a policy.
    """
    given = params.ppo.model_dump(exclude_none=True)
    settings = {key: value for key, value in copy.deepcopy(agent).items() if key not in NOT_PPO} | given
    rollout = settings["n_steps"] * params.train.num_envs
    minibatches = settings.pop("n_minibatches", None)
    if minibatches and "batch_size" not in given:
        settings["batch_size"] = max(1, rollout // minibatches)
    try:
        check_batch_size(settings["batch_size"], settings["n_steps"], params.train.num_envs)
    except ValueError as error:
        raise UserError(f"params.yaml: {error}") from None
    _check_policy(settings)
    _check_classes(policy_arguments(settings), params.sim)
    return settings


def _check_classes(arguments: dict[str, Any], sim: Sim) -> None:
    """Refuse an optimizer that the update does not know, and an activation whose bits are the machine's."""
    optimizer, activation = (arguments.get(name) for name in ("optimizer_class", "activation_fn"))
    if optimizer and optimizer not in [getattr(optim, name) for name in OPTIMIZERS]:
        raise UserError(
            f"ppo.policy_kwargs.optimizer_class: should be one of {', '.join(OPTIMIZERS)} (given: {optimizer.__name__})"
        )
    if sim.deterministic and activation and activation not in [getattr(nn, name) for name in EXACT_ACTIVATIONS]:
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


def initial_policy(params: Params, settings: dict[str, Any]) -> Policy | None:
    """The trained policy that ``train.init_from`` names; None for random weights.

    Raises:
        UserError: If it cannot be read, was trained for another task, has other layers than ``settings`` ask for, or
            saw normalised observations where ``params`` want them as they are, or the reverse.
    """
    folder = Path(params.train.init_from)
    if params.train.init_from == RANDOM_WEIGHTS:
        return None
    if not folder.is_dir():
        raise UserError(f"train.init_from: should be {RANDOM_WEIGHTS} or a folder with a policy (given: {folder})")
    try:
        policy = Policy.load(folder)
    except PolicyError as error:
        raise UserError(f"train.init_from: {error}") from None
    if policy.task != params.sim.task:
        raise UserError(f"train.init_from: the policy was trained for the task {policy.task}, not {params.sim.task}")
    layers = {name: list(weights.shape) for name, weights in policy.weights.items()}
    asked = policy.model_copy(update={"agent": settings}).network().state_dict()
    if layers != {name: list(weights.shape) for name, weights in asked.items()}:
        raise UserError(
            "train.init_from: the policy has other layers than ppo asks for; set ppo.policy_kwargs and ppo.use_sde "
            f"as in {folder / JSON_FILE}"
        )
    if params.normalize.observations != bool(policy.normalization and policy.normalization.observations):
        raise UserError(
            f"train.init_from: set normalize.observations to {str(not params.normalize.observations).lower()}, as the "
            "policy was trained"
        )
    return policy


def describe(params: Params, settings: dict[str, Any], *, device: str) -> dict[str, Any]:
    """The run's settings in the form of Isaac Lab's agent files."""
    return settings | {
        "seed": params.seed,
        "device": device,
        "n_timesteps": total_timesteps(params, settings),
        "normalize_input": params.normalize.observations,
        "normalize_value": params.normalize.rewards,
        "clip_obs": params.normalize.clip_observations,
        "normalize_until": params.normalize.until,
    }


def total_timesteps(params: Params, settings: dict[str, Any]) -> int:
    """The length of the training run in timesteps; ``train.max_iterations`` counts rollouts and has precedence."""
    if params.train.max_iterations is None:
        return params.train.total_timesteps
    return params.train.max_iterations * settings["n_steps"] * params.train.num_envs


def normalized(env: TensorEnv, params: Params, gamma: float) -> TensorNormalize:
    """Wrap the environments in VecNormalize as Isaac Lab does: rewards scaled, not clipped."""
    normalize = params.normalize
    return TensorNormalize(
        env,
        norm_obs=normalize.observations,
        norm_reward=normalize.rewards,
        clip_obs=normalize.clip_observations,
        clip_reward=np.inf,
        gamma=gamma,
    )


def build_ppo(settings: dict[str, Any], env: TensorNormalize, *, seed: int, device: str) -> TensorPPO:
    """Construct PPO from settings as :func:`resolve_settings` returns them."""
    return TensorPPO(**ppo_arguments(settings), env=env, seed=seed, device=device)

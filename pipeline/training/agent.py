"""From the params, and the agent that Isaac Lab registers for the task, to PPO in its normalised environments."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import nn

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Normalize, Ppo, Train, check_batch_size
from pipeline.experiment.paths import MODELS, RANDOM_WEIGHTS
from pipeline.policy.network import check_network
from pipeline.policy.policy import JSON_FILE, Policy, PolicyError
from pipeline.policy.sb3_arguments import policy_arguments, ppo_arguments
from pipeline.policy.schema import first_finding
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.simulation.tensor_env import TensorEnv
from pipeline.training.optimizer_state import read_optimizer
from pipeline.training.training_state import Start, load_start

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


def initial_policy(init_from: str, task: str, settings: dict[str, Any], normalize: Normalize) -> Start | None:
    """Load the trained policy that ``train.init_from`` names, and its optimizer's state; None for random weights.

    Raises:
        UserError: If it cannot be read, was trained for another task, has other layers than ``settings`` ask for, or
            was trained on normalised observations where ``normalize`` leaves them as they are, or the reverse. If the
            optimizer's state does not fit.
    """
    if init_from == RANDOM_WEIGHTS:
        return None
    folder = _policy_folder(init_from)
    try:
        policy = Policy.load(folder)
    except PolicyError as error:
        raise UserError(f"train.init_from: {error}") from None
    if policy.task != task:
        raise UserError(f"train.init_from: the policy was trained for the task {policy.task}, not {task}")
    layers = {name: list(weights.shape) for name, weights in policy.weights.items()}
    asked = policy.model_copy(update={"agent": settings}).network()
    if layers != {name: list(weights.shape) for name, weights in asked.state_dict().items()}:
        raise UserError(
            "train.init_from: the policy has other layers than ppo asks for; set ppo.policy_kwargs and ppo.use_sde "
            f"as in {folder / JSON_FILE}"
        )
    if _functions(policy.agent) != _functions(settings):
        raise UserError(
            "train.init_from: the policy was trained with another activation or squashing; set ppo.policy_kwargs as in "
            f"{folder / JSON_FILE}"
        )
    if normalize.observations != bool(policy.normalization and policy.normalization.observations):
        raise UserError(
            f"train.init_from: set normalize.observations to {str(not normalize.observations).lower()}, as the "
            "policy was trained"
        )
    return Start(policy, read_optimizer(folder, policy.agent, settings, asked))


def _functions(agent: dict[str, Any]) -> tuple[Any, bool]:
    """Return what a network does beside its weights: its activation, and whether it squashes its actions."""
    arguments = policy_arguments(agent)
    return arguments.get("activation_fn", nn.Tanh), bool(arguments.get("squash_output"))


def _policy_folder(init_from: str) -> Path:
    """Return the folder that is named; refuse one that dvc.lock cannot name for a clone on another machine."""
    folder, project = Path(init_from), Path.cwd().resolve()
    if folder.is_relative_to(MODELS):
        raise UserError(f"train.init_from: {MODELS}/ is what training writes; copy it: `cp -rL {folder} pretrained`")
    try:
        inside = project in folder.resolve().parents and not folder.is_absolute()
        found = inside and folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a link to itself, a null character
        found = False
    if not found:
        raise UserError(
            f"train.init_from: should be {RANDOM_WEIGHTS} or a folder with a policy, by its path below the project's "
            f"folder (given: {init_from!r:.200})"
        )
    return folder


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

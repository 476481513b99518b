"""The trained policy that a training starts from: ``train.init_from``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Normalize
from pipeline.experiment.paths import MODELS, RANDOM_WEIGHTS
from pipeline.policy.policy import JSON_FILE, Policy, PolicyError
from pipeline.policy.sb3_arguments import policy_arguments
from pipeline.ppo.ppo import TensorPPO
from pipeline.training.optimizer_state import State, load_optimizer, read_optimizer
from pipeline.training.training_state import load_policy


class Start(NamedTuple):
    """What a training starts from: a trained policy, and the state of its optimizer if that was kept."""

    policy: Policy
    optimizer: State | None


def load_start(model: TensorPPO, start: Start) -> None:
    """Give ``model``, which has the same layers and the same optimizer, all of ``start``."""
    load_policy(model, start.policy)
    if start.optimizer is not None:
        load_optimizer(model.policy.optimizer, start.optimizer, model.device)


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
            f"train.init_from: should be {RANDOM_WEIGHTS} or a folder with a policy that is here, by its path below "
            f"the project's folder (given: {init_from!r:.200})"
        )
    return folder

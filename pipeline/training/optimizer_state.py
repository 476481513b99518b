"""The optimizer's state as ``optimizer.safetensors``: what it keeps of each parameter, by its number (``3.exp_avg``).

Like the policy's files it cannot run code when it is read, and has the same bytes for the same values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn, optim

from pipeline.experiment.errors import UserError
from pipeline.policy.policy import JSON_FILE
from pipeline.policy.sb3_arguments import policy_arguments

OPTIMIZER_FILE = "optimizer.safetensors"

State = dict[str, torch.Tensor]


def encode_optimizer(optimizer: optim.Optimizer) -> bytes:
    """Encode the state as the content of ``optimizer.safetensors``."""
    return safetensors.torch.save(_state_of(optimizer))


def load_optimizer(optimizer: optim.Optimizer, state: State, device: torch.device) -> None:
    """Give ``optimizer``, whose parameters are on ``device``, the state; its learning rate and the like stay."""
    by_number: dict[int, State] = {}
    for key, tensor in state.items():
        number, _, name = key.partition(".")
        by_number.setdefault(int(number), {})[name] = tensor.to(device)
    optimizer.load_state_dict({"state": by_number, "param_groups": optimizer.state_dict()["param_groups"]})


def read_optimizer(folder: Path, trained: dict[str, Any], asked: dict[str, Any], network: nn.Module) -> State | None:
    """Read the state that the policy in ``folder`` was trained with at its end; None if there is no such file.

    Args:
        folder: Has the policy, and perhaps ``optimizer.safetensors``.
        trained: PPO's arguments that the policy was trained with, as plain values.
        asked: Those of the training to come.
        network: The policy of the training to come; its weights do not matter, its gradients are set.

    Raises:
        UserError: If the file is damaged, or of another optimizer or other layers than those of the training to come.
    """
    path = folder / OPTIMIZER_FILE
    if not path.exists():
        return None
    remedy = "or remove it, to start with the optimizer's state at its beginning"
    try:
        state = safetensors.torch.load(path.read_bytes())
        if not all(tensor.isfinite().all() for tensor in state.values()):
            raise ValueError("a number is not finite")
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"train.init_from: {path}: {error}; fetch it again, {remedy}") from None
    if _class(trained) != _class(asked) or _layout(state) != _layout(_state_after_a_step(asked, network)):
        raise UserError(
            f"train.init_from: {path} is of another optimizer, or of other layers, than ppo asks for; set "
            f"ppo.policy_kwargs as in {folder / JSON_FILE}, {remedy}"
        )
    return state


def _class(agent: dict[str, Any]) -> type[optim.Optimizer]:
    return policy_arguments(agent).get("optimizer_class") or optim.Adam  # SB3's own


def _state_after_a_step(agent: dict[str, Any], network: nn.Module) -> State:
    """Let an optimizer such as ``agent`` asks for take a step, for the shapes of what it keeps."""
    settings = policy_arguments(agent).get("optimizer_kwargs") or {}
    optimizer = _class(agent)(network.parameters(), **settings)
    for weights in network.parameters():
        weights.grad = torch.zeros_like(weights)
    optimizer.step()
    return _state_of(optimizer)


def _state_of(optimizer: optim.Optimizer) -> State:
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, of in state.items() for name, tensor in of.items()}


def _layout(state: State) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}

"""Arguments of SB3's PPO from plain values, as params.yaml, policy.json and Isaac Lab's agent files have them."""

from __future__ import annotations

import copy
from typing import Any

from stable_baselines3.common.utils import LinearSchedule
from torch import nn, optim

from pipeline.experiment.param_types import schedule_start
from pipeline.experiment.policy_kwargs import optimizer_name

SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")  # arguments that may change in the course of training


def policy_arguments(agent: dict[str, Any]) -> dict[str, Any]:
    """Build SB3's ``policy_kwargs``, with classes in place of their names.

    ``nn.ELU`` is that of ``torch.nn``, ``optim.SGD`` that of ``torch.optim``.

    Raises:
        AttributeError: If torch has no such class.
    """
    arguments = copy.deepcopy(agent.get("policy_kwargs") or {})
    if isinstance(activation := arguments.get("activation_fn"), str):
        arguments["activation_fn"] = getattr(nn, activation.removeprefix("nn."))
    if isinstance(optimizer := arguments.get("optimizer_class"), str):
        arguments["optimizer_class"] = getattr(optim, optimizer_name(optimizer))
    return arguments


def ppo_arguments(agent: dict[str, Any]) -> dict[str, Any]:
    """Build the arguments of SB3's PPO, with schedules for ``lin_3e-3``, and classes for their names."""
    schedules = {name: schedule(agent[name]) for name in SCHEDULES if name in agent}
    return agent | schedules | {"policy_kwargs": policy_arguments(agent)}


def schedule(value: float | str) -> float | LinearSchedule:
    """Build SB3's linear decay to 0 from ``lin_3e-3``; a number stays.

    Isaac Lab's own ``process_sb3_cfg`` lets a linear learning rate and a linear clip range share one closure, so that
    the learning rate becomes the clip range.
    """
    start, decays = schedule_start(value)
    return LinearSchedule(start, 0.0, 1.0) if decays else start

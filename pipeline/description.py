"""The parts of ``policy.json`` as plain, finite values: spaces, normalisation, PPO's arguments."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal, Self

import gymnasium as gym
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn, optim

Bound = float | None | list[float | None]  # null: unbounded; a single value holds for every entry
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")  # arguments that may change in the course of training


class Values(BaseModel):
    """Immutable, strict, finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Space(Values):
    """A flat ``gymnasium.spaces.Box``."""

    shape: Annotated[list[PositiveInt], Field(min_length=1, max_length=1)]
    dtype: Literal["float32"]
    low: Bound
    high: Bound

    @classmethod
    def from_gymnasium(cls, space: gym.Space) -> Self:
        """Describe ``space``; raises ValueError if it is not a flat Box of float32."""
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or space.dtype != np.float32:
            raise ValueError(f"{space} is not a flat Box of float32, the only kind of space supported here")
        return cls(shape=list(space.shape), dtype="float32", low=_bound(space.low), high=_bound(space.high))

    def to_gymnasium(self) -> gym.spaces.Box:
        """The space itself."""
        low, high = (
            np.broadcast_to(np.array(bound, dtype=np.float64), self.shape) for bound in (self.low, self.high)
        )  # numpy reads None as NaN
        low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
        return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), tuple(self.shape), np.float32)


def _bound(values: np.ndarray) -> Bound:
    entries = [float(value) if np.isfinite(value) else None for value in values]
    return entries[0] if len(set(entries)) == 1 else entries


class Moments[T](Values):
    """Running moments of VecNormalize: of each observation, or of the discounted return."""

    mean: T
    var: T
    count: float


def _moments(statistics: Any) -> dict[str, Any]:
    """Of a RunningMeanStd, or of TensorMoments."""
    return {"mean": statistics.mean.tolist(), "var": statistics.var.tolist(), "count": float(statistics.count)}


class Normalization(Values):
    """A VecNormalize; null moments: not normalised, null clips: not clipped."""

    observations: Moments[list[float]] | None
    rewards: Moments[float] | None
    clip_observations: float | None  # standard deviations
    clip_rewards: float | None
    gamma: float
    epsilon: float


def describe_normalization(normalize: VecNormalize) -> dict[str, Any]:
    """The settings and the present statistics of ``normalize``, in the form of :class:`Normalization`."""
    return {
        "observations": _moments(normalize.obs_rms) if normalize.norm_obs else None,
        "rewards": _moments(normalize.ret_rms) if normalize.norm_reward else None,
        "clip_observations": None if np.isinf(normalize.clip_obs) else float(normalize.clip_obs),
        "clip_rewards": None if np.isinf(normalize.clip_reward) else float(normalize.clip_reward),
        "gamma": float(normalize.gamma),
        "epsilon": float(normalize.epsilon),
    }


def policy_arguments(agent: dict[str, Any]) -> dict[str, Any]:
    """SB3's ``policy_kwargs`` from PPO's arguments as plain values, with classes in place of names.

    ``nn.ELU`` is that of ``torch.nn``, ``optim.SGD`` that of ``torch.optim``.

    Raises:
        AttributeError: If torch has no such class.
    """
    arguments = copy.deepcopy(agent.get("policy_kwargs") or {})
    if isinstance(activation := arguments.get("activation_fn"), str):
        arguments["activation_fn"] = getattr(nn, activation.removeprefix("nn."))
    if isinstance(optimizer := arguments.get("optimizer_class"), str):
        arguments["optimizer_class"] = getattr(optim, optimizer.removeprefix("torch.").removeprefix("optim."))
    return arguments


def ppo_arguments(agent: dict[str, Any]) -> dict[str, Any]:
    """The arguments of SB3's PPO from plain values, with schedules in place of ``lin_3e-3`` and classes of names."""
    schedules = {name: schedule(agent[name]) for name in SCHEDULES if name in agent}
    return agent | schedules | {"policy_kwargs": policy_arguments(agent)}


def schedule(value: float | str) -> float | LinearSchedule:
    """Turn ``lin_3e-3`` into a linear decay from 3e-3 to 0; a number stays.

    Isaac Lab's own ``process_sb3_cfg`` lets a linear learning rate and a linear clip range share one closure, so that
    the learning rate becomes the clip range.
    """
    if isinstance(value, str):
        return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
    return value

"""The schema of ``policy.json``: spaces and normalisation as plain, finite values."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import gymnasium as gym
import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from pydantic import model_validator as validator
from stable_baselines3.common.vec_env import VecNormalize

Float32 = Annotated[float, Field(ge=-float(np.finfo(np.float32).max), le=float(np.finfo(np.float32).max))]
Bound = Float32 | None | list[Float32 | None]  # null: unbounded; a single value holds for every entry


class StrictModel(BaseModel):
    """A model whose values never change, are of exactly the annotated types, and finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def first_finding(error: ValidationError) -> str:
    """Say the first thing that pydantic found wrong: where, and what should be there."""
    finding = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in finding["loc"])
    message = finding["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


class Space(StrictModel):
    """A flat ``gymnasium.spaces.Box``."""

    shape: Annotated[list[Annotated[PositiveInt, Field(le=10**6)]], Field(min_length=1, max_length=1)]
    dtype: Literal["float32"]
    low: Bound
    high: Bound

    @validator(mode="after")
    def _is_a_box(self) -> Self:
        if any(isinstance(bound, list) and len(bound) != self.shape[0] for bound in (self.low, self.high)):
            raise ValueError("low and high should be one bound, or one for each entry")
        self.to_gymnasium()  # refuses a lower bound above the upper one
        return self

    @classmethod
    def from_gymnasium(cls, space: gym.Space) -> Self:
        """Describe ``space``; raises ValueError if it is not a flat Box of float32."""
        if space.shape and 0 in space.shape:
            raise ValueError(f"{space} has no entries")
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or space.dtype != np.float32:
            raise ValueError(f"{space} is not a flat Box of float32, the only kind of space supported here")
        return cls(shape=list(space.shape), dtype="float32", low=_bound(space.low), high=_bound(space.high))

    def to_gymnasium(self) -> gym.spaces.Box:
        """Build the space."""
        low, high = (
            np.broadcast_to(np.array(bound, dtype=np.float64), self.shape) for bound in (self.low, self.high)
        )  # numpy reads None as NaN
        low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
        return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), tuple(self.shape), np.float32)


def _bound(values: np.ndarray) -> Bound:
    entries = [float(value) if np.isfinite(value) else None for value in values]
    return entries[0] if len(set(entries)) == 1 else entries


def _not_negative(variances: Any) -> Any:
    if np.min(variances) < 0:
        raise ValueError("a variance should not be negative")
    return variances


class Moments[T](StrictModel):
    """Running moments of VecNormalize: those of each observation, or those of the discounted return."""

    mean: T
    var: Annotated[T, AfterValidator(_not_negative)]
    count: NonNegativeFloat


def _moments(statistics: Any) -> dict[str, Any]:
    """Read the moments of a RunningMeanStd, or of the TensorMoments of `pipeline.ppo`."""
    return {"mean": statistics.mean.tolist(), "var": statistics.var.tolist(), "count": float(statistics.count)}


class Normalization(StrictModel):
    """A VecNormalize. Moments of null: not normalised. Clips of null: not clipped."""

    observations: Moments[list[float]] | None
    rewards: Moments[float] | None
    clip_observations: PositiveFloat | None  # standard deviations
    clip_rewards: PositiveFloat | None
    gamma: Annotated[float, Field(ge=0, le=1)]
    epsilon: PositiveFloat


class Signal(StrictModel):
    """One number of the observations or actions."""

    name: str  # the term's, and the joint's
    unit: str | None  # null: not known
    # An observation is scale * (value - offset), and what an action commands is scale * action + offset, in the unit.
    scale: float
    offset: float
    axis: list[float] | None  # along which the joint slides, or about which it turns, in the environment's frame


class Signals(StrictModel):
    """What the numbers in observations and actions mean, in their order."""

    rate: PositiveFloat  # actions a second
    observations: list[Signal]
    actions: list[Signal]


def describe_normalization(normalize: VecNormalize) -> dict[str, Any]:
    """Describe the settings and the present statistics of ``normalize``, in the form of :class:`Normalization`."""
    return {
        "observations": _moments(normalize.obs_rms) if normalize.norm_obs else None,
        "rewards": _moments(normalize.ret_rms) if normalize.norm_reward else None,
        "clip_observations": None if np.isinf(normalize.clip_obs) else float(normalize.clip_obs),
        "clip_rewards": None if np.isinf(normalize.clip_reward) else float(normalize.clip_reward),
        "gamma": float(normalize.gamma),
        "epsilon": float(normalize.epsilon),
    }

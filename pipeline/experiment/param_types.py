"""Types of the values in params.yaml: what they accept, and how they refuse the rest."""

from __future__ import annotations

import contextlib
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

LINEAR = "lin_"  # Isaac Lab's mark of a linear decay


def schedule_start(value: Any) -> tuple[float, bool]:
    """Read a schedule: ``lin_3e-3`` decays linearly from 3e-3 to 0, a number stays as it is.

    Returns:
        The first value, and whether it decays.

    Raises:
        ValueError: If it is neither.
    """
    decays = isinstance(value, str) and value.startswith(LINEAR)
    return float(_number(value.removeprefix(LINEAR) if decays else value)), decays


def _schedule(least: float, most: float) -> BeforeValidator:
    """Check a schedule that starts within these bounds, and write its number in one way."""

    def check(value: Any) -> Any:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            start, decays = schedule_start(value)
            if least <= start <= most:
                return f"{LINEAR}{start!r}" if decays else start
        raise ValueError(
            f"should be a number from {least:.9g} to {most:.9g}, or lin_ and such a number for a linear decay to 0"
        )

    return BeforeValidator(check)


def _number(value: Any) -> Any:
    """Accept a number that YAML 1.1 writers left as text (``1e-05``); refuse booleans, Python's 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError("should be a number") from None
    return value


def _integer(value: Any) -> Any:
    """Accept a whole number, however it is written, and however large, for its bound to be what refuses it."""
    value = _number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _seed(value: Any) -> Any:
    if value == -1:
        raise ValueError(
            "-1 would draw a seed that nobody could repeat; draw one into params.yaml: `dvc exp run -S seed=$RANDOM`"
        )
    return _number(value)


def _device(value: Any) -> Any:
    if value == "auto":
        raise ValueError("auto is not allowed, because a GPU gives other bits; set cpu, cuda or cuda:N")
    if not isinstance(value, str) or not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", value):
        raise ValueError("should be cpu, cuda or cuda:N")
    return value


def _point(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError("should be three numbers, x, y and z [m]")
    return value


Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Integer = Annotated[int, BeforeValidator(_integer)]
Natural = Annotated[Integer, Field(gt=0)]
# Numbers that torch holds in float32 with room to compute, and none that it would round to 0.
Number = Annotated[Real, Field(ge=-1e15, le=1e15)]
Positive = Annotated[Real, Field(ge=1e-15, le=1e15)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
Count = Annotated[Natural, Field(lt=2**53)]  # beyond, a number that was a float had lost digits
Seed = Annotated[int, BeforeValidator(_seed), Field(ge=0, lt=2**32)]
Device = Annotated[str, BeforeValidator(_device)]
Flag = Annotated[bool, Field(strict=True)]
LearningRate = Annotated[float | str, _schedule(1e-12, 10)]
ClipRange = Annotated[float | str, _schedule(1e-12, 1e6)]
Limit = Annotated[Real, Field(ge=1e-12, le=1e12)]  # of a norm, of a divergence
Weight = Annotated[Real, Field(ge=-1e6, le=1e6)]  # of a term of the loss, whose gradients are squared in float32
Point = Annotated[tuple[Number, Number, Number], BeforeValidator(_point)]


Layers = Annotated[list[Annotated[Natural, Field(le=10**6)]], Field(max_length=100)]
_LAYERS = TypeAdapter(Layers)


def _net_arch(value: Any) -> Any:
    with contextlib.suppress(ValueError):
        if not isinstance(value, dict):
            return _LAYERS.validate_python(value)
        if value.keys() == {"pi", "vf"}:
            return {network: _LAYERS.validate_python(layers) for network, layers in value.items()}
    raise ValueError(
        "should be the units of each hidden layer, as [32, 32], or of each network, as {pi: [32, 32], vf: [64]}: "
        "at most 100 layers of 1 to 1000000 units"
    )


NetArch = Annotated[list[int] | dict[str, list[int]], BeforeValidator(_net_arch)]


class Section(BaseModel):
    """A section of params.yaml: immutable, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

"""The file of a study: which params are tried, from what, and by which metric a trial is judged."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Field, JsonValue, NonNegativeInt, PositiveInt, ValidationError
from pydantic import model_validator as validator

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import PARAMS_FILE


class Section(BaseModel):
    """A part of the file, in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; whole ones if both are."""

    low: int | float
    high: int | float
    log: bool = False  # as many below their geometric mean as above it


class Settings(Section):
    """The content of the file."""

    params: dict[str, list[JsonValue] | Range] = Field(min_length=1)  # by their paths in params.yaml
    sampler: Literal["grid", "random", "tpe"]
    trials: PositiveInt | None = None  # of a grid: all
    seeds: list[NonNegativeInt] = Field(min_length=1)
    metric: str  # of metrics/evaluate.json or metrics/train.json
    direction: Literal["maximize", "minimize"]
    average: Literal["mean", "interquartile_mean"] = "mean"  # over the seeds

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws from: of a list, one of its values as text."""
        return {name: _distribution(values) for name, values in self.params.items()}

    @property
    def combinations(self) -> list[dict[str, str]]:
        """The params of each trial of a grid; of what draws them, none."""
        values = [map(override, one) for one in self.params.values() if isinstance(one, list)]
        return [dict(zip(self.params, one, strict=True)) for one in product(*values)] if self.sampler == "grid" else []

    @property
    def count(self) -> int:
        """How many trials there are in all."""
        return self.trials or len(self.combinations)

    @validator(mode="after")
    def _consistent(self) -> Self:
        if self.sampler == "grid" and (ranges := [name for name, one in self.params.items() if isinstance(one, Range)]):
            raise ValueError(f"{ranges[0]}: a grid needs a list of values")
        if (self.sampler == "grid") != (self.trials is None):
            raise ValueError("trials: say how many; a grid has as many as there are combinations, and takes no number")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is there twice")
        return self


def load_settings(path: Path) -> Settings:
    """Read the file.

    Raises:
        UserError: One sentence for the first thing wrong.
    """
    if not path.is_file():
        raise UserError(f"study: there is no file {path}; see docs/studies.md")
    try:
        settings = Settings.model_validate(read_sections(path))
        settings.distributions  # noqa: B018  # Optuna's own checks
    except ValidationError as error:
        findings = error.errors(include_url=False)
        finding = next((finding for finding in findings if finding["type"] == "extra_forbidden"), findings[0])
        where = "".join(f"{part}: " for part in finding["loc"] if part != "Range" and not str(part).startswith("list"))
        raise UserError(f"study: {path}: {where}{finding['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise UserError(f"study: {path}: {error}") from None
    params = read_sections(PARAMS_FILE)
    for name in settings.params:
        _check_exists(name, params)
    return settings


def override(value: object) -> str:
    """Write a value as ``dvc exp run -S`` reads it, which is the grammar of Hydra."""
    if isinstance(value, list):
        return f"[{','.join(override(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{override(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)  # a text in quotes, lest it is taken for a number


def _distribution(values: list[JsonValue] | Range) -> BaseDistribution:
    if isinstance(values, list):
        return CategoricalDistribution([override(value) for value in values])
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _check_exists(name: str, params: dict[str, Any]) -> None:
    """Refuse what params.yaml does not have, before a run does."""
    if name.startswith("+") or name.startswith("env."):  # which may add
        return
    section: object = params
    for part in name.split("."):
        if not isinstance(section, dict) or part not in section:
            known = section if isinstance(section, dict) else []
            raise UserError(f"study: params: {name}: params.yaml has no such key; {did_you_mean(part, known)}")
        section = section[part]

"""The file of a study: which params are tried, from what, and by which metric a trial is judged."""

from __future__ import annotations

import json
import shutil
import tempfile
from itertools import product
from pathlib import Path
from typing import Literal, Self

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Field, JsonValue, NonNegativeInt, PositiveInt, ValidationError
from pydantic import model_validator as validator

from pipeline.experiment.errors import UserError, one_line
from pipeline.experiment.params_file import load_params, read_sections
from pipeline.experiment.paths import PARAMS_FILE

SET = "++"  # before a param in ``dvc exp run -S``: it is set, or added, as those of ``env`` are


class Section(BaseModel):
    """A part of the file, in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Range(Section):
    """Numbers from ``low`` to ``high``, both included; whole ones if both are."""

    low: int | float
    high: int | float
    log: bool = False  # as many below their geometric mean as above it


Constant = str | int | float | bool | None  # what each run is given, and nobody draws


class Settings(Section):
    """The content of the file."""

    params: dict[str, Range | list[JsonValue] | Constant] = Field(min_length=1)  # by their paths in params.yaml
    sampler: Literal["grid", "random", "tpe"]
    trials: PositiveInt | None = None  # of a grid: all
    seeds: list[NonNegativeInt] = Field(min_length=1)
    metric: str  # of metrics/evaluate.json or metrics/train.json
    direction: Literal["maximize", "minimize"]
    average: Literal["mean", "interquartile_mean"] = "mean"  # over the seeds

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna draws from: of a list, one of its values as text."""
        return {name: _distribution(one) for name, one in self.params.items() if isinstance(one, list | Range)}

    @property
    def constants(self) -> dict[str, str]:
        """What a run has besides what is drawn, as text."""
        return {name: override(one) for name, one in self.params.items() if not isinstance(one, list | Range)}

    @property
    def combinations(self) -> list[dict[str, str]]:
        """The params of each trial of a grid; empty for the other samplers."""
        lists = {name: [*map(override, one)] for name, one in self.params.items() if isinstance(one, list)}
        every = product(*lists.values()) if self.sampler == "grid" else ()
        return [dict(zip(lists, one, strict=True)) for one in every]

    @property
    def count(self) -> int:
        """How many trials there are in all."""
        return self.trials or len(self.combinations)

    @property
    def fixed(self) -> dict[str, str]:
        """All that may not change once the study has begun, by its key, as JSON: to that, 1 and 1.0 are two things."""
        said = self.model_dump(mode="json", exclude={"trials"})
        params = {f"params.{name}": one for name, one in said.pop("params").items()}
        return {name: json.dumps(one) for name, one in (said | params).items()}

    @validator(mode="after")
    def _consistent(self) -> Self:
        for name, one in self.params.items():
            if name.startswith("+"):
                raise ValueError(f"params: {name}: write it without +; what params.yaml does not have is added anyway")
            if isinstance(one, Range) and self.sampler == "grid":
                raise ValueError(f"params: {name}: a grid needs a list of values")
            try:
                _distribution(one)  # Optuna's own checks
            except ValueError as error:
                raise ValueError(f"params: {name}: {error}") from None
        if "seed" in self.params:
            raise ValueError("params: seed: list its values under seeds")
        if (self.sampler == "grid") != (self.trials is None):
            raise ValueError("trials: say how many; a grid has as many as there are combinations, and takes no number")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is there twice")
        return self


def load_settings(path: Path) -> Settings:
    """Read the file, and see that it says one thing.

    Raises:
        UserError: One sentence for the first thing wrong.
    """
    if not path.is_file():
        raise UserError(f"study: there is no file {path}; see docs/studies.md")
    try:
        return Settings.model_validate(read_sections(path))
    except ValidationError as error:
        findings = error.errors(include_url=False)
        finding = next((finding for finding in findings if finding["type"] == "extra_forbidden"), findings[0])
        where = "".join(f"{part}: " for part in finding["loc"] if part != "Range" and not str(part).startswith("list"))
        raise UserError(f"study: {path}: {where}{finding['msg'].removeprefix('Value error, ')}") from None


def check_values(path: Path, settings: Settings) -> None:
    """Refuse values that the params do, before a run does: each of them is tried with the first ones of the other keys.

    Raises:
        UserError: The first one.
    """
    values = {"seed": settings.seeds, **{name: _examples(one) for name, one in settings.params.items()}}
    first = {name: examples[0] for name, examples in values.items()}
    others = [first | {name: value} for name, examples in values.items() for value in examples[1:]]
    for changes in [first, *others]:
        with tempfile.TemporaryDirectory() as folder:
            changed = Path(shutil.copy(PARAMS_FILE, folder))
            try:
                apply_overrides(changed, [f"{SET}{name}={override(value)}" for name, value in changes.items()])
                load_params(changed)
            except (DvcException, OmegaConfBaseException) as error:
                raise UserError(f"study: {path}: params: {one_line(error.__cause__ or error)}") from None
            except UserError as error:
                raise UserError(f"study: {path}: {str(error).removeprefix(f'{changed}: ')}") from None


def override(value: object) -> str:
    """Write a value as ``dvc exp run -S`` reads it, which is the grammar of Hydra."""
    if isinstance(value, list):
        return f"[{','.join(override(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{override(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)  # a text in quotes, lest it is taken for a number


def _examples(values: Range | list[JsonValue] | Constant) -> list[JsonValue]:
    if isinstance(values, Range):
        return [values.low, values.high]
    return values if isinstance(values, list) else [values]


def _distribution(values: Range | list[JsonValue] | Constant) -> BaseDistribution:
    if not isinstance(values, Range):
        if not (examples := _examples(values)):
            raise ValueError("the list is empty; write at least one value")
        return CategoricalDistribution([override(value) for value in examples])
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)

"""``ppo.policy_kwargs``: those arguments of SB3's policy, and of torch's optimizers, that our PPO takes as SB3 does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline.experiment.errors import did_you_mean
from pipeline.experiment.param_types import Flag, Fraction, NetArch, Real, Section

_ADAM = ("betas", "eps", "weight_decay", "amsgrad", "maximize")
# Those with a fused step for all weights, which also clips the gradients (`pipeline/ppo/update.py`), and what it takes.
# How a step is computed is the update's business: `fused`, `foreach`, `capturable`, `differentiable`.
OPTIMIZERS = {
    "Adam": (*_ADAM, "decoupled_weight_decay"),
    "AdamW": _ADAM,
    "SGD": ("momentum", "dampening", "weight_decay", "nesterov", "maximize"),
}


def optimizer_name(value: str) -> str:
    """Return the name of an optimizer within ``torch.optim``, from ``torch.optim.SGD``, ``optim.SGD`` or ``SGD``."""
    return value.removeprefix("torch.").removeprefix("optim.")


def _optimizer(value: Any) -> Any:
    if not isinstance(value, str) or optimizer_name(value) not in OPTIMIZERS:
        raise ValueError(f"should be one of {', '.join(OPTIMIZERS)}")
    return value


def _refuse_unknown(given: Any, allowed: Iterable[str]) -> None:
    for key in given if isinstance(given, dict) else ():
        if key not in allowed:
            raise ValueError(f"takes no {key}; {did_you_mean(key, allowed)}")


Decay = Annotated[Real, Field(ge=0, lt=1)]  # of a running mean, for each step


class OptimizerKwargs(Section):
    """Arguments of torch's optimizers. The learning rate is PPO's."""

    betas: Annotated[list[Decay], Field(min_length=2, max_length=2)] | None = None
    eps: Annotated[Real, Field(ge=1e-16, le=1)] | None = None  # of 0, a unit that never fires would become NaN
    weight_decay: Annotated[Real, Field(ge=0, le=1000)] | None = None
    decoupled_weight_decay: Flag | None = None
    amsgrad: Flag | None = None
    maximize: Flag | None = None
    momentum: Fraction | None = None
    dampening: Fraction | None = None
    nesterov: Flag | None = None

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> OptimizerKwargs:
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("takes nesterov with a momentum above 0 and no dampening")
        return self


class PolicyKwargs(Section):
    """Arguments of SB3's ActorCriticPolicy. Those that are null are SB3's own."""

    net_arch: NetArch | None = None
    activation_fn: str | None = None  # by its name in torch.nn
    ortho_init: Flag | None = None
    log_std_init: Annotated[Real, Field(ge=-20, le=20)] | None = None
    full_std: Flag | None = None
    use_expln: Flag | None = None
    squash_output: Flag | None = None
    share_features_extractor: Flag | None = None  # there is nothing in it to share
    normalize_images: Flag | None = None  # there are none
    optimizer_class: Annotated[str, BeforeValidator(_optimizer)] | None = None  # by its name in torch.optim
    optimizer_kwargs: OptimizerKwargs | None = None

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if isinstance(given, dict) and {"features_extractor_class", "features_extractor_kwargs"} & given.keys():
            raise ValueError("takes no features extractor: the networks read the flat observations as they are")
        _refuse_unknown(given, cls.model_fields)
        return given

    @field_validator("optimizer_kwargs", mode="before")
    @classmethod
    def _taken_by_the_optimizer(cls, given: Any, info: ValidationInfo) -> Any:
        optimizer = info.data.get("optimizer_class") or "Adam"  # SB3's own
        _refuse_unknown(given, OPTIMIZERS[optimizer_name(optimizer)])
        return given

"""params.yaml as frozen, strict, typed models: the only place where an experiment is described.

Reading it imports neither torch nor the simulator, so that a typing error costs a second and not a start-up.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import UserError

PARAMS_FILE = Path("params.yaml")
RANDOM_WEIGHTS = "assets/random_weights.md"  # in place of a policy; a file, since DVC has no optional dependencies


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


def _schedule(value: Any) -> Any:
    """Leave ``lin_3e-3``, Isaac Lab's notation for a linear decay from 3e-3 to 0, as it is; check its number."""
    decays = isinstance(value, str) and value.startswith("lin_")
    with contextlib.suppress(ValueError):
        number = _number(value[4:] if decays else value)
        if isinstance(number, int | float) and 0 < number < float("inf"):
            return f"lin_{number!r}" if decays else float(number)
    raise ValueError("should be a positive number, or lin_ and a positive number for a linear decay to 0")


def _seed(value: Any) -> Any:
    if value == -1:
        raise ValueError(
            "-1 would draw a seed that nobody could repeat; draw one into params.yaml: `dvc exp run -S seed=$RANDOM`"
        )
    return _number(value)


def _device(value: Any) -> Any:
    if value == "auto":
        raise ValueError("auto is not allowed, because a GPU gives other bits; set cpu, cuda or cuda:N")
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Integer = Annotated[int, BeforeValidator(_number)]
Count = Annotated[Integer, Field(gt=0)]
Seed = Annotated[int, BeforeValidator(_seed), Field(ge=0, lt=2**32)]
Flag = Annotated[bool, Field(strict=True)]
Schedule = Annotated[float | str, BeforeValidator(_schedule)]
Point = tuple[Number, Number, Number]


class Section(BaseModel):
    """A section of params.yaml: immutable, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Sim(Section):
    """What is simulated, by what, where."""

    task: str
    agent: str
    physics: Literal["physx", "ovphysx", "isaacsim_physx", "newton_mjwarp", "newton_kamino"]
    frontend: Literal["torch", "warp"]
    device: Annotated[str, BeforeValidator(_device), Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
    deterministic: Flag
    threads: Count


class Ppo(Section):
    """Arguments of SB3's PPO under SB3's names; what is null comes from the registered agent (``sim.agent``)."""

    policy: Literal["MlpPolicy"] | None = None
    learning_rate: Schedule | None = None
    n_steps: Count | None = None
    batch_size: Count | None = None
    n_minibatches: Count | None = None  # Isaac Lab's alternative to batch_size: mini-batches a rollout is cut into
    n_epochs: Count | None = None
    gamma: Fraction | None = None
    gae_lambda: Fraction | None = None
    clip_range: Schedule | None = None
    clip_range_vf: Schedule | None = None
    normalize_advantage: Flag | None = None
    ent_coef: Number | None = None
    vf_coef: Number | None = None
    max_grad_norm: Positive | None = None
    use_sde: Flag | None = None
    sde_sample_freq: Integer | None = None
    target_kl: Positive | None = None
    stats_window_size: Count | None = None
    policy_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_batch_size(self) -> Ppo:
        if self.batch_size and self.n_minibatches:
            raise ValueError("takes batch_size or n_minibatches, not both")
        return self


class Normalize(Section):
    """SB3's VecNormalize."""

    observations: Flag
    rewards: Flag
    clip_observations: Positive
    until: Count | None  # timesteps; null to go on to the end, as SB3 does


class TrainVideo(Section):
    """Clips of the running training."""

    interval: Count | None  # timesteps from the start of one clip to the next; null for no clips
    length: Count  # steps of the environment


class Train(Section):
    """The training run."""

    num_envs: Count
    total_timesteps: Count
    max_iterations: Count | None  # rollouts; takes the place of total_timesteps
    init_from: str  # a folder with a trained policy, or RANDOM_WEIGHTS
    checkpoint_every: Count | None  # timesteps
    log_interval: Count  # timesteps
    keep_all_info: Flag
    export_io_descriptors: Flag
    video: TrainVideo


class Evaluate(Section):
    """The evaluation on held-out starts."""

    seed: Seed
    episodes: Count
    num_envs: Count


class Camera(Section):
    """A camera beside each environment, in the environment's frame [m]."""

    eye: Point
    target: Point
    focal_length: Positive  # mm, on a film of 20.955 mm


class Render(Section):
    """The video."""

    seed: Seed
    episodes: Count
    length: Count | None  # steps an episode; null for whole episodes
    num_envs: Count
    width: Annotated[Count, Field(multiple_of=2)]
    height: Annotated[Count, Field(multiple_of=2)]
    fps: Count
    camera: Camera


class Params(Section):
    """All of params.yaml."""

    seed: Seed
    sim: Sim
    env: dict[str, Any]
    ppo: Ppo
    normalize: Normalize
    train: Train
    evaluate: Evaluate
    render: Render

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        if self.evaluate.seed == self.seed:
            raise ValueError("evaluate.seed should differ from seed, since training has seen that one's starts")
        if self.ppo.n_steps and self.ppo.batch_size:
            check_batch_size(self.ppo.batch_size, self.ppo.n_steps, self.train.num_envs)
        return self


def check_batch_size(batch_size: int, n_steps: int, num_envs: int) -> None:
    """Refuse mini-batches that leave a remainder, which SB3 would train on as a smaller, noisier batch.

    Raises:
        ValueError: If ``batch_size`` does not divide the rollout of ``num_envs`` x ``n_steps``.
    """
    rollout = num_envs * n_steps
    if rollout % batch_size:
        raise ValueError(
            f"ppo.batch_size should divide the rollout of {rollout} "
            f"(train.num_envs {num_envs} x ppo.n_steps {n_steps}), and {batch_size} does not"
        )


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check the params.

    Raises:
        UserError: One sentence for the first thing wrong: the key's path, what was given, what is allowed.
    """
    try:
        return Params.model_validate(read_sections(path))
    except ValidationError as error:
        raise UserError(f"{path}: {_sentence(error)}") from None


def read_sections(path: Path) -> dict[str, Any]:
    """Read params.yaml or dvc.yaml as DVC does (YAML 1.2), so that both see the same values.

    Raises:
        UserError: If the file is missing, no YAML, or has no sections.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage in the project's folder, through `dvc repro`") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} has no sections; run `git checkout {path}`")
    return content


def _sentence(error: ValidationError) -> str:
    """One of pydantic's findings as one sentence: an unknown key, which may be why another is missing, or the first."""
    findings = error.errors(include_url=False)
    finding = next((finding for finding in findings if finding["type"] == "extra_forbidden"), findings[0])
    path = ".".join(str(part) for part in finding["loc"] if part not in ("float", "str"))
    if finding["type"] == "missing":
        return f"{path} is missing; add it, or run `git checkout params.yaml`"
    if finding["type"] == "extra_forbidden":
        return f"{path} is not a parameter; {did_you_mean(finding['loc'][-1], _siblings(finding['loc']))}"
    message = finding["msg"].removeprefix("Value error, ")
    if isinstance(finding["input"], dict):
        return f"{path} {message}".strip()
    return f"{path}: {message[0].lower()}{message[1:]} (given: {finding['input']!r})"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed where the unknown key at ``location`` stands."""
    section: Any = Params
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    return list(section.model_fields)


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """The names of ``allowed`` nearest to ``given``, as the end of a sentence; all of them if none is near."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(given), allowed, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(allowed)}"

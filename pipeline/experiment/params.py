"""The sections of params.yaml as frozen, strict, typed models: the only place where an experiment is described."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.experiment.param_types import (
    ClipRange,
    Count,
    Device,
    Flag,
    Fraction,
    Integer,
    LearningRate,
    Limit,
    Natural,
    Point,
    Positive,
    Real,
    Section,
    Seed,
    Weight,
)
from pipeline.experiment.policy_kwargs import PolicyKwargs

MOST_SAMPLES = 10**8  # of a rollout: more than 10 GB
NumEnvs = Annotated[Natural, Field(le=2**20)]  # 16 times what fits on a GPU of 80 GB


class Sim(Section):
    """The simulation: its task, its engine, its device."""

    project: str  # a folder of tasks/
    task: str
    agent: str
    physics: Literal["physx", "ovphysx", "isaacsim_physx", "newton_mjwarp", "newton_kamino", "task"]
    frontend: Literal["torch", "warp"]
    device: Device
    deterministic: Flag
    threads: Annotated[Natural, Field(le=1024)]


class Ppo(Section):
    """Arguments of SB3's PPO under SB3's names. Those that are null come from the registered agent (``sim.agent``)."""

    policy: Literal["MlpPolicy"] | None = None
    learning_rate: LearningRate | None = None
    n_steps: Annotated[Natural, Field(le=10**6)] | None = None
    batch_size: Annotated[Natural, Field(le=MOST_SAMPLES)] | None = None
    n_minibatches: Annotated[Natural, Field(le=MOST_SAMPLES)] | None = None  # Isaac Lab's alternative to batch_size
    n_epochs: Annotated[Natural, Field(le=10**4)] | None = None
    gamma: Fraction | None = None
    gae_lambda: Fraction | None = None
    clip_range: ClipRange | None = None
    clip_range_vf: ClipRange | None = None
    normalize_advantage: Flag | None = None
    ent_coef: Weight | None = None
    vf_coef: Annotated[Weight, Field(ge=0)] | None = None
    max_grad_norm: Limit | None = None
    use_sde: Flag | None = None
    sde_sample_freq: Annotated[Integer, Field(ge=-1, le=10**6)] | None = None  # steps; -1 for whole rollouts
    target_kl: Limit | None = None
    stats_window_size: Annotated[Natural, Field(le=10**6)] | None = None  # episodes
    policy_kwargs: PolicyKwargs | None = None

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


class Camera(Section):
    """A camera beside each environment, in the environment's frame [m]."""

    follow: Flag  # eye and target are then from the robot, but for their height
    eye: Point
    target: Point
    focal_length: Annotated[Real, Field(ge=1, le=1000)]  # mm, on a film of 20.955 mm


class TrainVideo(Section):
    """Clips of the running training."""

    interval: Count | None  # timesteps from the start of one clip to the next; null for no clips
    length: Count  # steps of the environment
    camera: Camera


class Train(Section):
    """The training run."""

    num_envs: NumEnvs
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
    episodes: Annotated[Natural, Field(le=10**7)]  # of each of which there is a row
    num_envs: NumEnvs


class Render(Section):
    """The video."""

    seed: Seed
    episodes: Count
    length: Count | None  # steps an episode; null for whole episodes
    num_envs: NumEnvs
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
        ValueError: If ``batch_size`` does not divide the rollout of ``num_envs`` x ``n_steps``, or that is too large
            for a machine's memory.
    """
    rollout = num_envs * n_steps
    if rollout > MOST_SAMPLES:
        raise ValueError(
            f"train.num_envs {num_envs} x ppo.n_steps {n_steps} should be a rollout of at most {MOST_SAMPLES} samples, "
            f"and is one of {rollout}"
        )
    if rollout % batch_size:
        raise ValueError(
            f"ppo.batch_size should divide the rollout of {rollout} "
            f"(train.num_envs {num_envs} x ppo.n_steps {n_steps}), and {batch_size} does not"
        )

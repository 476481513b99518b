"""The trainers whose speed is compared, each with the same epochs and mini-batches of an update as another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.processes import Machine, isaaclab, logged, run, stage

N_STEPS = 16  # of a rollout, everywhere
SEED = 42
WARM_UP = 6  # rollouts that do not count: kernels are compiled, memory is allocated, graphs are captured


# What each of Isaac Lab's trainers writes for TensorBoard once a rollout, and what it counts there.
LOGS: dict[str, tuple[str, Literal["timesteps", "steps", "rollouts"]]] = {
    "sb3": ("time/fps", "timesteps"),
    "rsl_rl": ("Perf/total_fps", "rollouts"),
    "skrl": ("Loss / Value loss", "steps"),
}


@dataclass(frozen=True)
class Trainer:
    """Something that trains the cartpole.

    Args:
        name: In the table.
        prepare: Makes a folder ready for so many environments and rollouts, and returns the command to run there.
        tag: What it writes for TensorBoard once a rollout.
        counts: What TensorBoard's steps are.
    """

    name: str
    prepare: Callable[[Path, Machine, int, int], list[str]]
    tag: str
    counts: Literal["timesteps", "steps", "rollouts"] = "timesteps"


@dataclass(frozen=True)
class Measurement:
    """One run of a trainer."""

    steps_per_second: float  # after the warm-up
    start_seconds: float  # from the start of the process to the end of the first rollout and its update
    memory_mb: float  # most of the host's
    gpu_memory_mb: float


def upstream(library: str, epochs: int, minibatches: int, *, frontend: str = "torch") -> Trainer:
    """Isaac Lab's own, with its settings for the library but for those given."""

    def prepare(_folder: Path, machine: Machine, num_envs: int, rollouts: int) -> list[str]:
        rollout = num_envs * N_STEPS
        settings = {
            "sb3": (
                f"--log_interval={rollout}",
                f"agent.n_epochs={epochs}",
                f"agent.batch_size={rollout // minibatches}",
            ),
            "rsl_rl": (
                f"agent.algorithm.num_learning_epochs={epochs}",
                f"agent.algorithm.num_mini_batches={minibatches}",
            ),
            "skrl": (
                f"agent.agent.learning_epochs={epochs}",
                f"agent.agent.mini_batches={minibatches}",
                f"agent.agent.experiment.write_interval={N_STEPS}",
            ),
        }
        size = f"--num_envs={num_envs}", f"--max_iterations={rollouts}", f"--seed={SEED}", f"--frontend={frontend}"
        return isaaclab(machine, library, *size, *settings[library])

    tag, counts = LOGS[library]
    return Trainer(_name(library, frontend, epochs, minibatches), prepare, tag, counts)


def ours(epochs: int, minibatches: int, *, frontend: str = "torch") -> Trainer:
    """Name this project's stage as a trainer, without normalisation, as Isaac Lab has it, and with every mini-batch."""

    def prepare(folder: Path, machine: Machine, num_envs: int, rollouts: int) -> list[str]:
        params = {
            "seed": SEED,
            "sim.physics": machine.physics,
            "sim.frontend": frontend,
            "sim.device": machine.device,
            "sim.deterministic": False,
            "ppo.n_epochs": epochs,
            "ppo.batch_size": None,
            "ppo.n_minibatches": minibatches,
            "ppo.target_kl": None,
            "normalize.observations": False,
            "normalize.rewards": False,
            "train.num_envs": num_envs,
            "train.max_iterations": rollouts,
            "train.log_interval": num_envs * N_STEPS,
            "train.checkpoint_every": None,
        }
        return stage(folder, params)

    return Trainer(_name("ours", frontend, epochs, minibatches), prepare, tag="time/fps")


def _name(library: str, frontend: str, epochs: int, minibatches: int) -> str:
    return f"{library}, {frontend}, {epochs} x {minibatches}"


def measure(trainer: Trainer, machine: Machine, num_envs: int, rollouts: int) -> Measurement:
    """Run ``trainer`` for so many rollouts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = run(trainer.prepare(folder, machine, num_envs, rollouts), folder)
        times = logged(folder, trainer.tag)
    (first, first_time, _), (last, last_time, _) = times[WARM_UP], times[-1]
    scale = {"timesteps": 1, "steps": num_envs, "rollouts": num_envs * N_STEPS}[trainer.counts]
    return Measurement(
        steps_per_second=(last - first) * scale / (last_time - first_time),
        start_seconds=times[0][1] - process.started,
        memory_mb=process.memory_mb,
        gpu_memory_mb=process.gpu_memory_mb,
    )

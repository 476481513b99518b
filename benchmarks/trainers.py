"""The trainers whose speed is compared, each with the same epochs and mini-batches of an update as another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Machine, isaaclab, logged, run, stage

N_STEPS = 16  # of a rollout, everywhere
SEED = 42
WARM_UP = 6  # rollouts that do not count: kernels are compiled, memory is allocated, graphs are captured


@dataclass(frozen=True)
class Trainer:
    """Something that trains the cartpole.

    Args:
        name: In the table.
        prepare: Makes a folder ready for so many environments and rollouts, and returns the command to run there.
        tag: What it writes for TensorBoard once a rollout.
        counts_rollouts: Whether TensorBoard's steps are rollouts, not timesteps.
    """

    name: str
    prepare: Callable[[Path, Machine, int, int], list[str]]
    tag: str
    counts_rollouts: bool = False


@dataclass(frozen=True)
class Measurement:
    """One run of a trainer."""

    steps_per_second: float  # after the warm-up
    start_seconds: float  # from the start of the process to the end of the first rollout and its update
    memory_mb: float  # most of the host's


def upstream(library: str, epochs: int, minibatches: int, *, frontend: str = "torch") -> Trainer:
    """Isaac Lab's own, with its settings for the library but for those given."""

    def prepare(folder: Path, machine: Machine, num_envs: int, rollouts: int) -> list[str]:
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
        }
        size = f"--num_envs={num_envs}", f"--max_iterations={rollouts}", f"--seed={SEED}", f"--frontend={frontend}"
        return isaaclab(machine, library, *size, f"agent.device={machine.device}", *settings[library])

    name = _name(library, frontend, epochs, minibatches)
    if library == "sb3":
        return Trainer(name, prepare, tag="time/fps")
    return Trainer(name, prepare, tag="Perf/total_fps", counts_rollouts=True)


def ours(epochs: int, minibatches: int, *, frontend: str = "torch") -> Trainer:
    """This project's stage; without normalisation, as Isaac Lab has it, and with every mini-batch."""

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
    scale = num_envs * N_STEPS if trainer.counts_rollouts else 1
    return Measurement(
        steps_per_second=(last - first) * scale / (last_time - first_time),
        start_seconds=times[0][1] - process.started,
        memory_mb=process.memory_mb,
    )

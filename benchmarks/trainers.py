"""The trainers that are compared: each a process of its own, read by what it writes for TensorBoard."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parent.parent
N_STEPS = 16  # of a rollout, everywhere
SEED = 42
WARM_UP = 6  # rollouts that do not count: kernels are compiled, memory is allocated, graphs are captured

# Upstream's command line; on a machine without CUDA it needs the one workaround to run PhysX at all.
ISAACLAB = (
    "from pipeline.workarounds import allow_pinned_arrays_without_cuda; allow_pinned_arrays_without_cuda();"
    "from isaaclab.__main__ import main; main()"
)


@dataclass(frozen=True)
class Machine:
    """Where everything runs in a comparison."""

    device: str  # cpu or cuda:0
    physics: str


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


def isaaclab(library: str, epochs: int, minibatches: int, *, frontend: str = "torch") -> Trainer:
    """Isaac Lab's own command line, with its settings for the library but for those given."""

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
        flags = {
            "--rl_library": library,
            "--task": "Isaac-Cartpole",
            "--num_envs": num_envs,
            "--max_iterations": rollouts,
            "--device": machine.device,
            "--seed": SEED,
            "--frontend": frontend,
        }
        overrides = [
            f"physics={machine.physics}",
            f"agent.device={machine.device}",
            f"env.scene.robot.spawn.usd_path={ROOT / 'assets/cartpole.usda'}",
            "env.scene.ground=null",
        ]
        words = [str(word) for flag in flags.items() for word in flag]
        return [sys.executable, "-c", ISAACLAB, "train", *words, *overrides, *settings[library]]

    name = _name(library, frontend, epochs, minibatches)
    if library == "sb3":
        return Trainer(name, prepare, tag="time/fps")
    return Trainer(name, prepare, tag="Perf/total_fps", counts_rollouts=True)


def ours(epochs: int, minibatches: int, *, frontend: str = "torch") -> Trainer:
    """This project's stage; without normalisation, as Isaac Lab has it, and with every mini-batch."""

    def prepare(folder: Path, machine: Machine, num_envs: int, rollouts: int) -> list[str]:
        yaml = YAML()
        params = yaml.load((ROOT / "params.yaml").read_text())
        params["seed"] = SEED
        params["sim"].update(physics=machine.physics, frontend=frontend, device=machine.device, deterministic=False)
        params["ppo"].update(n_epochs=epochs, batch_size=None, n_minibatches=minibatches, target_kl=None)
        params["normalize"].update(observations=False, rewards=False)
        params["train"].update(num_envs=num_envs, max_iterations=rollouts)
        params["train"].update(log_interval=num_envs * N_STEPS, checkpoint_every=None)
        with (folder / "params.yaml").open("w") as file:
            yaml.dump(params, file)
        for name in ("assets", "dvc.yaml"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "metrics").mkdir()
        return [sys.executable, "-m", "stages.train"]

    return Trainer(_name("ours", frontend, epochs, minibatches), prepare, tag="time/fps")


def _name(library: str, frontend: str, epochs: int, minibatches: int) -> str:
    return f"{library}, {frontend}, {epochs} x {minibatches}"


def measure(trainer: Trainer, machine: Machine, num_envs: int, rollouts: int) -> Measurement:
    """Run ``trainer`` for so many rollouts.

    Raises:
        RuntimeError: If it fails; with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.time()
        memory = _run(trainer.prepare(folder, machine, num_envs, rollouts), folder)
        times = _times(folder, trainer)
    (first, first_time), (last, last_time) = times[WARM_UP], times[-1]
    scale = num_envs * N_STEPS if trainer.counts_rollouts else 1
    return Measurement(
        steps_per_second=(last - first) * scale / (last_time - first_time),
        start_seconds=times[0][1] - started,
        memory_mb=memory,
    )


def _run(command: list[str], folder: Path) -> float:
    """Run to the end in ``folder``; the most memory [MB] that it took."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    log = folder / "output.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{log.read_text()[-4000:]}")
    return usage.ru_maxrss / 1024


def _times(folder: Path, trainer: Trainer) -> list[tuple[int, float]]:
    """Step and time [s] of each point that was written for TensorBoard."""
    (events,) = folder.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [(event.step, event.wall_time) for event in accumulator.Scalars(trainer.tag)]

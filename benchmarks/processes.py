"""Trainers as processes of their own, ours and Isaac Lab's, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.experiment.params import Params
from pipeline.experiment.params_file import load_params

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Machine:
    """Where everything runs in a comparison."""

    device: str  # cpu or cuda:0
    physics: str


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    started: float  # seconds since 1970
    seconds: float
    memory_mb: float  # most of the host's
    gpu_memory_mb: float  # most of the GPU's, that of other processes too; 0 without a GPU


def isaaclab(machine: Machine, library: str, *words: str) -> list[str]:
    """Isaac Lab's own command line to train, with its settings for the library but for ``words``."""
    own_device = () if library == "skrl" else (f"agent.device={machine.device}",)  # the others' files say cuda:0
    return [
        *(sys.executable, "-m", "benchmarks.upstream", "train"),
        *("--rl_library", library, "--task", "Isaac-Cartpole"),
        *("--device", machine.device, *own_device, *words, f"physics={machine.physics}"),
        f"env.scene.robot.spawn.usd_path={ROOT / 'assets/cartpole.usda'}",
        "env.scene.ground=null",
    ]


def stage(folder: Path, params: Mapping[str, Any]) -> list[str]:
    """Build the command of this project's training in ``folder``, with ``params`` set by their dotted paths."""
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text())
    for path, value in params.items():
        *sections, key = path.lstrip("+").split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    for linked in ("assets", "dvc.yaml", "tasks"):
        (folder / linked).symlink_to(ROOT / linked)
    return [sys.executable, "-m", "stages.train"]


def params_on(machine: Machine, **sim: Any) -> Params:
    """Read this project's params, set for ``machine``, with ``sim`` in their section of that name."""
    values = load_params().model_dump()
    values["sim"] |= {"physics": machine.physics, "device": machine.device, **sim}
    return Params.model_validate(values)


def parse(overrides: list[str]) -> dict[str, Any]:
    """Params by their dotted paths, from ``path=value`` as DVC's ``-S`` takes them."""
    return {path: YAML(typ="safe").load(value) for path, _, value in (text.partition("=") for text in overrides)}


def run(command: list[str], folder: Path) -> Finished:
    """Run to the end in ``folder``.

    Raises:
        RuntimeError: If it fails; with the end of what it said.
    """
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    log, started = folder / "output.log", time.time()
    with log.open("w") as file, _gpu_memory() as gpu_memory:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{log.read_text()[-4000:]}")
    return Finished(started, time.time() - started, usage.ru_maxrss / 1024, max(gpu_memory, default=0.0))


@contextlib.contextmanager
def _gpu_memory() -> Iterator[list[float]]:
    """Measure the memory in use on ``cuda:0`` [MB], twice a second, until the context is left."""
    samples: list[float] = []
    if not shutil.which("nvidia-smi"):
        yield samples
        return
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    command = ["nvidia-smi", f"--id={first}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    with subprocess.Popen([*command, "--loop-ms=500"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield samples
        finally:
            process.terminate()
            samples += map(float, process.communicate()[0].split())


def logged(folder: Path, tag: str) -> list[tuple[int, float, float]]:
    """Step, time [s since 1970] and value of each point of ``tag`` that was written for TensorBoard."""
    (events,) = folder.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events), size_guidance={"scalars": 0})
    accumulator.Reload()
    return [(event.step, event.wall_time, event.value) for event in accumulator.Scalars(tag)]

"""Stopping a pipeline, in every way that a person or a machine has, at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from pipeline.experiment.records import recorded_outputs
from tests.conftest import Project, wait_until

# A training with five checkpoints, long enough to be hit between any two.
LONG = {"train": {"total_timesteps": 12288, "checkpoint_every": 2048, "keep_all_info": True}}
# Seconds that each stage takes at least.
SECONDS = {"train": 9.0, "evaluate": 5.0, "render": 6.0}

# Given the process of DVC, which leads a group, and the processes of the stage.
WAYS: dict[str, Callable[[int, list[psutil.Process]], None]] = {
    "Ctrl-C": lambda dvc, stage: os.killpg(dvc, signal.SIGINT),
    "SIGTERM to dvc": lambda dvc, stage: os.kill(dvc, signal.SIGTERM),
    "SIGTERM to the stage": lambda dvc, stage: _send(stage, signal.SIGTERM),
    "SIGKILL to dvc": lambda dvc, stage: os.kill(dvc, signal.SIGKILL),
    "SIGKILL to the stage": lambda dvc, stage: _send(stage, signal.SIGKILL),
    "SIGKILL to both": lambda dvc, stage: os.killpg(dvc, signal.SIGKILL),
}


def _send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def stage_processes(project: Project, stage: str) -> list[psutil.Process]:
    """The running processes of ``stage``, in the project's folder or in a copy that DVC has made below it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"stages.{stage}" in process.cmdline() and process.cwd().startswith(str(project.folder)):
                found.append(process)
    return found


def checkpoints(project: Project) -> list[Path]:
    """The checkpoints in the store that are complete."""
    return [sums.parent for sums in project.folder.glob(".resume/*/*/SHA256SUMS")]


def has_checkpoints(project: Project, number: int) -> bool:
    return len(checkpoints(project)) >= number


def runs(project: Project, stage: str) -> list[dict[str, Any]]:
    """What the runs of ``stage`` have noted of themselves until now, oldest first."""
    return [json.loads(path.read_text()) for path in sorted(project.folder.glob(f"logs/*_{stage}/run.json"))]


def went_on_from(project: Project, experiment: str = "workspace") -> int:
    """The timesteps that the newest training of ``experiment`` went on from."""
    newest = max(project.folder.glob(f"logs/*_{experiment}_train/run.json"))
    return json.loads(newest.read_text())["resumed_from"]


def is_recorded(project: Project, stage: str) -> bool:
    """Whether ``stage`` stands in dvc.lock."""
    return stage in recorded_outputs((project.folder / "dvc.lock").read_text())


def stop_when(project: Project, happened: Callable[[], bool], way: str, *command: str, stage: str = "train") -> None:
    """Start ``command``, wait until it ``happened``, then stop ``stage`` by one of :data:`WAYS`."""
    with project.start(*command, start_new_session=True) as dvc:
        wait_until(happened, seconds=180)
        WAYS[way](dvc.pid, stage_processes(project, stage))
        dvc.communicate(timeout=120)  # returns when all that write to the pipe are gone


def stop_at_random(project: Project, stage: str, chance: random.Random) -> bool:
    """Start ``dvc repro``, and stop it in any way at any moment of ``stage``; False if ``stage`` was over by then."""
    way, delay = chance.choice(list(WAYS)), chance.uniform(0.0, SECONDS[stage])
    with project.start("dvc", "repro", start_new_session=True) as dvc:
        wait_until(lambda: bool(stage_processes(project, stage)) or dvc.poll() is not None, seconds=120)
        time.sleep(delay)
        running = stage_processes(project, stage)
        if dvc.poll() is None:
            WAYS[way](dvc.pid, running)
        dvc.communicate(timeout=120)
    print(f"{way}, {delay:.1f} s into {stage}{'' if running else ', which was over'}", flush=True)
    return bool(running)


def go_on(project: Project, *targets: str) -> bool:
    """Run what is left to do, as ``make repro`` does; True if dvc.lock had to be mended first."""
    mended = "DVC could not read" in project.run(sys.executable, "-m", "tools.mend").stdout
    project.run("dvc", "repro", *targets)
    return mended

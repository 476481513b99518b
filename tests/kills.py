"""Killing a stage, or the DVC that runs it, at any moment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import psutil

from tests.conftest import Project, wait_until

# A training with five checkpoints, long enough to be hit between any two.
LONG = {"train": {"total_timesteps": 12288, "checkpoint_every": 2048, "keep_all_info": True}}
# Seconds that each stage takes, about.
SECONDS = {"train": 14.0, "evaluate": 8.0, "render": 9.0}


def stage_processes(project: Project, stage: str) -> list[psutil.Process]:
    """The running processes of ``stage``, in the project's folder or in a copy that DVC has made below it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if f"stages.{stage}" in process.cmdline() and process.cwd().startswith(str(project.folder)):
                found.append(process)
    return found


def run_and_kill(project: Project, command: tuple[str, ...], stage: str, chance: random.Random) -> str:
    """Start ``command``, and kill the stage, DVC, or both at a random moment of ``stage``; returns what was killed."""
    victim = chance.choice(["the stage", "dvc", "both"])
    delay = chance.uniform(0.0, SECONDS[stage])
    with project.start(*command, start_new_session=True) as dvc:
        wait_until(lambda: bool(stage_processes(project, stage)) or dvc.poll() is not None, seconds=120)
        time.sleep(delay)
        if victim == "the stage":
            for process in stage_processes(project, stage):
                process.kill()
        elif dvc.poll() is None:
            (os.killpg if victim == "both" else os.kill)(dvc.pid, signal.SIGKILL)
        dvc.communicate(timeout=120)  # returns when all that wrote to the pipe are gone
    return f"{victim} {delay:.1f} s into {stage}"

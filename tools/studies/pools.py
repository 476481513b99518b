"""Where the runs of a study go: to the cores or GPUs of this machine, or to those of a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pipeline.experiment.errors import UserError
from pipeline.experiment.preflight import cuda_device_count
from pipeline.experiment.provenance import output_of
from tools.revisions import git

RUN = ("-m", "tools.studies.run")
PATIENCE = 90.0  # seconds for a run to end, once it is asked to


class Local(contextlib.AbstractContextManager["Local"]):
    """This machine.

    Args:
        device: Where the simulation runs, ``cpu`` or ``cuda``.
        slots: How many runs at a time: of the machine, or of each GPU; 0 for one a core, or one a GPU.
    """

    def __init__(self, device: str, slots: int) -> None:
        gpus = cuda_device_count() if device.startswith("cuda") else 0
        self.slots = gpus * (slots or 1) if gpus else slots or len(os.sched_getaffinity(0))
        self._free: SimpleQueue[dict[str, str]] = SimpleQueue()  # what the environment of a run has
        for number in range(self.slots):
            self._free.put({"CUDA_VISIBLE_DEVICES": _visible(number % gpus)} if gpus else {})
        self.origin = output_of("git", "rev-parse", "--show-toplevel")  # the repository that experiments go to
        self._threads = ThreadPoolExecutor(self.slots)
        self._processes: set[subprocess.Popen[str]] = set()

    def __exit__(self, *_: object) -> None:
        """Stop what runs, as Ctrl-C does: a training goes on from its last checkpoint."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        _stop([*self._processes])
        self._threads.shutdown()

    def submit(self, arguments: Sequence[str]) -> Future[str | None]:
        """Begin a run as soon as there is room; gives the last lines of its log if it fails, else None."""
        return self._threads.submit(self._run, arguments)

    def fetch(self, experiment: str) -> None:
        """Nothing has to be fetched: its run has pushed it into this repository."""

    def _run(self, arguments: Sequence[str]) -> str | None:
        environment = self._free.get()
        process = subprocess.Popen(
            [sys.executable, *RUN, *arguments],
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for the study, which sees to its runs
        )
        self._processes.add(process)
        try:
            _, said = process.communicate()
        finally:
            self._processes.discard(process)
            self._free.put(environment)
        return (said.strip() or f"it ended with {process.returncode}") if process.returncode else None


def _visible(number: int) -> str:
    """Name a GPU as the driver does, of those that this process may use."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[number] if allowed else str(number)


def _stop(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        _signal(process, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.killpg(process.pid, number)


class Cluster(contextlib.AbstractContextManager["Cluster"]):
    """The nodes of a Ray cluster, each with this repository and its .venv in a folder of the same path.

    Args:
        address: Where its head listens, or ``auto``.
        device: Where the simulation runs, ``cpu`` or ``cuda``.
        slots: How many runs share a GPU.

    Raises:
        UserError: If Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str, device: str, slots: int) -> None:
        try:
            import ray  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("study: CLUSTER needs Ray, which is not installed; run `make setup-ray`") from None
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError) as error:
            raise UserError(f"study: CLUSTER: there is no Ray cluster at {address}: {error}") from None
        gpus = 1 / (slots or 1) if device.startswith("cuda") else 0
        folder = Path.cwd()

        def run(arguments: Sequence[str]) -> str | None:  # not of a module, lest a node has to find that
            done = subprocess.run(
                [sys.executable, *RUN, *arguments],
                cwd=folder,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                start_new_session=True,
            )
            return (done.stderr.strip() or f"it ended with {done.returncode}") if done.returncode else None

        self.origin = output_of("git", "remote", "get-url", "origin")
        self._ray: Any = ray
        self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(run)  # -1: whatever becomes of a node
        there = ray.cluster_resources()
        room = there.get("GPU", 1) / gpus if gpus else there.get("CPU", 1)
        self.slots = 2 * int(room)  # as many again wait there, so that no node is ever without work

    def __exit__(self, *_: object) -> None:
        """Leave the cluster, which ends the runs there."""
        self._ray.shutdown()

    def submit(self, arguments: Sequence[str]) -> Future[str | None]:
        """Begin a run as soon as a node has room; gives the last lines of its log if it fails, else None."""
        return self._task.remote(arguments).future()

    def fetch(self, experiment: str) -> None:
        """Fetch the commit of an experiment; `dvc pull` brings its outputs where it is applied."""
        listed = git("ls-remote", "origin", f"refs/exps/*/*/{experiment}", blame=experiment)
        if not listed:
            raise UserError(f"{experiment} is not in `origin`, to which its run should have pushed it")
        git("fetch", "--quiet", "origin", f"+{(ref := listed.split()[-1])}:{ref}", blame=experiment)

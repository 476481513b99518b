"""The record of a run: ``logs/<run>/run.json`` on this machine says what ran, on what and when. No stage reads it."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.experiment.files import write_json
from pipeline.experiment.inputs import Inputs
from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import LOGS, PIPELINE_FILE
from pipeline.experiment.records import add_record

PACKAGES = ("isaaclab", "ovphysx", "newton", "warp-lang", "torch", "stable-baselines3", "numpy")


class Run:
    """A run of a stage on this machine, with a folder of its own below ``logs/`` of the main repository.

    ``dvc exp run --temp`` and ``--queue`` run in a copy that is deleted; ``$DVC_ROOT`` names the repository itself.
    """

    def __init__(self, stage: str, inputs: Inputs) -> None:
        """Open the run of ``stage``."""
        experiment = os.environ.get("DVC_EXP_NAME", "workspace")
        started = datetime.now(UTC)
        self.root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
        name = experiment.replace("/", "_")[:50]  # a name may have 255 bytes in all, and four of them be one character
        self.folder = self.root / LOGS / f"{started:%Y-%m-%d_%H-%M-%S}_{name}_{stage}"
        self.inputs = inputs
        self._started = self._phase_started = _clocks()
        self.record: dict[str, Any] = {
            "stage": stage,
            "experiment": experiment,
            "revision": output_of("git", "rev-parse", "HEAD") or None,  # without Git, or a commit
            "uncommitted": _uncommitted(inputs.files),
            "command": sys.orig_argv,
            "params": inputs.params,
            "inputs": inputs.digests,  # the lock of the packages among them
            "started": started.isoformat(timespec="seconds"),
            "host": platform.node(),
            "machine": machine(),
            "packages": versions(),
            "threads": inputs.params["sim"]["threads"],
            "phases": {},
        }

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the bits of the run: what the stage reads, the packages, and the GPU if it is on one."""
        device = self.record["device"]
        gpus = self.record["machine"]["gpus"] if device != "cpu" else []
        return {"inputs": self.inputs.before, "device": device, "gpus": gpus, "packages": self.record["packages"]}

    def __enter__(self) -> Run:
        self._write("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end_phase("write")
        self.record["seconds"] = round(time.monotonic() - self._started[0], 3)
        if kind is None:
            self.record["outputs"] = produced_outputs(self.record["stage"])
            add_record(self.record)
        self._write("finished" if kind is None else f"failed: {kind.__name__}: {error}")

    def note(self, **facts: Any) -> None:
        """Add facts to the record."""
        self.record |= facts
        self._write("running")

    def end_phase(self, name: str) -> None:
        """Record the wall and CPU time since the end of the phase before, in seconds, under ``name``."""
        now = _clocks()
        wall, cpu = (round(end - start, 3) for end, start in zip(now, self._phase_started, strict=True))
        self.record["phases"][name] = {"wall_seconds": wall, "cpu_seconds": cpu}
        self._phase_started = now

    def _write(self, state: str) -> None:
        self.record["state"] = state
        write_json(self.folder / "run.json", self.record)


def produced_outputs(stage: str) -> dict[str, str]:
    """Compute the MD5 of each file that ``stage`` makes, as dvc.lock has them."""
    listed = read_sections(PIPELINE_FILE)["stages"][stage]
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in listed.get(kind, [])]
    paths = [Path(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries]
    return {str(path): hashlib.md5(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def _clocks() -> tuple[float, float]:
    """Read wall time, and CPU time of all threads, in seconds."""
    return time.monotonic(), time.process_time()


def machine() -> dict[str, Any]:
    """Describe the machine, as far as it can matter to the bits or the speed of a run."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "gpus": output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines(),
    }


def versions() -> dict[str, str]:
    """Look up the versions of the packages that compute."""
    return {name: metadata.version(name) for name in PACKAGES}


def cpu_model() -> str:
    """Name the first processor as Linux does, with the numbers of its family and model, since some share a name."""
    info = Path("/proc/cpuinfo")
    pairs = (
        [line.partition(":") for line in info.read_text().partition("\n\n")[0].splitlines()] if info.exists() else []
    )
    facts = {name.strip(): value.strip() for name, _, value in pairs}
    if "model name" not in facts:
        return platform.processor()
    return f"{facts['model name']}, family {facts.get('cpu family')}, model {facts.get('model')}"


def _uncommitted(files: list[str]) -> list[str]:
    """List those of ``files`` that are not as in the revision. Git does not know what DVC keeps."""
    # --short: relative to this folder, which may lie within a larger repository; --porcelain never is. Without the
    # optional lock, since a person may be committing right now.
    settings = ("--no-optional-locks", "-c", "status.relativePaths=true", "-c", "color.status=false")
    status = output_of("git", *settings, "status", "--short", "--", *files).splitlines()
    return [line.strip().partition(" ")[2].strip() for line in status]


def output_of(*command: str) -> str:
    """Run ``command`` and return what it prints; nothing if it cannot be run here or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

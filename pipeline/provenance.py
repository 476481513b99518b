"""What ran, on what, when: ``logs/<run>/run.json``, for people; no stage depends on it."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.files import write_json
from pipeline.params import Params

TIMING = Path("metrics/timing.json")
PACKAGES = ("isaaclab", "ovphysx", "newton", "warp-lang", "torch", "stable-baselines3", "numpy")


class Run:
    """A run of a stage on this machine, with a folder of its own below ``logs/`` of the main repository.

    ``dvc exp run --temp`` and ``--queue`` run in a copy that is deleted; ``$DVC_ROOT`` names the repository itself.
    """

    def __init__(self, stage: str, params: Params) -> None:
        """Open the run of ``stage``."""
        experiment = os.environ.get("DVC_EXP_NAME", "workspace")
        started = datetime.now(UTC)
        logs = Path(os.environ.get("DVC_ROOT", ".")).resolve() / "logs"
        self.folder = logs / f"{started:%Y-%m-%d_%H-%M-%S}_{experiment}_{stage}"
        self._started = time.monotonic()
        self.record: dict[str, Any] = {
            "stage": stage,
            "experiment": experiment,
            "command": sys.orig_argv,
            "params": params.model_dump(mode="json"),
            "started": started.isoformat(timespec="seconds"),
            "machine": machine(),
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "threads": params.sim.threads,
        }

    def __enter__(self) -> Run:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.record["seconds"] = round(time.monotonic() - self._started, 3)
        self._write("finished" if kind is None else f"failed: {kind.__name__}: {error}")
        if kind is None:
            self._write_timing()

    def note(self, **facts: Any) -> None:
        """Add facts to the record."""
        self.record |= facts
        self._write("running")

    def _write_timing(self) -> None:
        # Beside the stages' outputs and none itself: times are what two honest runs may differ in.
        timing = json.loads(TIMING.read_text()) if TIMING.exists() else {}
        write_json(TIMING, timing | {f"{self.record['stage']}_seconds": self.record["seconds"]})

    def _write(self, state: str) -> None:
        self.record["state"] = state
        write_json(self.folder / "run.json", self.record)


def machine() -> dict[str, Any]:
    """The host, as far as it can matter to the bits or the speed of a run."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
    }


def cpu_model() -> str:
    """The processor's name as Linux gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

"""Results as JSON, with the machine that they were made on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.processes import Machine
from pipeline.experiment.provenance import machine as host

RESULTS = Path(__file__).parent / "results"


def save(name: str, machine: Machine, rows: list[dict[str, Any]]) -> None:
    """Write ``results/<name>.json``."""
    made_on = host() | {"device": machine.device, "physics": machine.physics}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": made_on, "rows": rows}, indent=2) + "\n")

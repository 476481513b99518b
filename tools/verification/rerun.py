"""Running the stages again, each on the very inputs that dvc.lock has."""

from __future__ import annotations

import enum
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tools.verification.fresh_clone import DVC, pull
from tools.verification.recorded import Digests, Recorded, recorded_stages


class Outcome(enum.StrEnum):
    """What became of a stage."""

    EQUAL = "came out as recorded"
    DIFFERENT = "differs"
    FAILED = "fails"
    NOT_RUN = "was not run"  # nobody has what it reads


class Result(NamedTuple):
    """What became of a stage, and what it made."""

    outcome: Outcome
    outputs: Digests


def run_again(clone: Path, stages: Mapping[str, Recorded]) -> dict[str, Result]:
    """Run every stage; where the one before made something else, on its recorded outputs, if they can be had."""
    outputs = {path for stage in stages.values() for path in stage.outputs}
    there: Digests = {}
    results = {}
    for name, stage in stages.items():
        to_bring = {path: md5 for path, md5 in stage.inputs.items() if path in outputs and there.get(path) != md5}
        if to_bring and not pull(clone, to_bring):
            results[name] = Result(Outcome.NOT_RUN, {})
        else:
            results[name] = _run(clone, name, stage.outputs)
            there |= to_bring | results[name].outputs
    return results


def _run(clone: Path, name: str, expected: Digests) -> Result:
    command = [*DVC, "repro", "--single-item", "--force", "--no-run-cache", name]
    if subprocess.run(command, cwd=clone, check=False).returncode:
        return Result(Outcome.FAILED, {})
    outputs = recorded_stages(clone)[name].outputs
    return Result(Outcome.EQUAL if outputs == expected else Outcome.DIFFERENT, outputs)

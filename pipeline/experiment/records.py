"""Provenance in Git: ``metrics/provenance.jsonl`` has one line a run, the first that made its outputs.

Records go by the digests of the outputs. Whoever makes the same bytes again adds nothing, so that times and machines
are no reason for a difference in Git. ``.gitattributes`` lets a merge keep the lines of both sides.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.experiment.files import read_text, write_atomically
from pipeline.experiment.params_file import parse_sections
from pipeline.experiment.paths import CHECKED, LOCK_FILE, LOGS, PROVENANCE

LOCAL = ("experiment", "host", "inputs", "params", "state")  # names of one machine, and what dvc.lock has anyway

Record = dict[str, Any]


def add_record(record: Mapping[str, Any]) -> None:
    """Add the record of a run to those in Git, unless its outputs have one."""
    text = read_text(PROVENANCE)
    if record_of(read_records(text), record["stage"], record["outputs"]):
        return
    line = json.dumps({name: value for name, value in record.items() if name not in LOCAL}, sort_keys=True)
    write_atomically(PROVENANCE, f"{text.removesuffix('\n')}\n{line}\n".lstrip("\n").encode())


def read_records(text: str) -> list[Record]:
    """Read the records in ``text``, one a line. Other lines are left out, such as the marks of a conflict in Git."""
    return [record for line in text.splitlines() if (record := _parse(line))]


def runs_here(root: Path) -> list[Record]:
    """Read the records of the runs on this machine that finished, below ``logs/`` of ``root``."""
    records = [_parse(read_text(path)) for path in root.glob(f"{LOGS}/*/run.json")]
    return [record for record in records if "outputs" in record]


def _parse(text: str) -> Record:
    """Read a record; an empty one if ``text`` is none."""
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(text)
        if isinstance(record, dict) and isinstance(record.get("outputs", {}), dict):
            return record
    return {}


def record_of(records: Iterable[Record], stage: str, outputs: Mapping[str, str]) -> Record | None:
    """Find the first run of ``stage`` that made ``outputs``; None if there is none.

    Args:
        records: Records of runs.
        stage: The stage.
        outputs: The MD5 of each file by its path, and perhaps those of folders, which records do not have.
    """
    runs = [record for record in records if record.get("stage") == stage and record.get("outputs")]
    made = [record for record in runs if record["outputs"].items() <= outputs.items()]
    return min(made, key=lambda record: str(record.get("started", "")), default=None)


def recorded_outputs(lock: str) -> dict[str, dict[str, str]]:
    """Read the MD5 of each output of each stage, by its path, from ``lock``, the text of a dvc.lock.

    What the check writes is left out: it is no result.
    """
    stages = parse_sections(lock or "{}", LOCK_FILE).get("stages", {})
    outputs = {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}
    return {name: {path: md5 for path, md5 in made.items() if path != str(CHECKED)} for name, made in outputs.items()}

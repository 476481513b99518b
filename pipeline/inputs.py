"""What a stage reads, as dvc.yaml lists it, held against changes while the stage runs.

DVC hashes the dependencies of a stage when it has ended: what is edited meanwhile would be recorded beside results that
never saw it (https://github.com/treeverse/dvc/issues/11058).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.params import PARAMS_FILE, read_sections

PIPELINE_FILE = Path("dvc.yaml")


class Inputs:
    """The dependencies and params of ``stage`` as they are now."""

    def __init__(self, stage: str) -> None:
        self.stage = read_sections(PIPELINE_FILE)["stages"][stage]
        self.before = self._now()

    def check_unchanged(self) -> None:
        """Refuse to let results be recorded for what they were not made from.

        Raises:
            UserError: If a dependency or a section of the params is not what it was.
        """
        now = self._now()
        changed = [name for name, content in self.before.items() if now[name] != content]
        if changed:
            raise UserError(
                f"{', '.join(changed)} changed while the stage ran; nothing was recorded: run `dvc repro` again"
            )

    def _now(self) -> dict[str, Any]:
        params = read_sections(PARAMS_FILE)
        sections = {f"{section} in {PARAMS_FILE}": params.get(section) for section in self.stage["params"]}
        return sections | {name: _digest(Path(name)) for name in self.stage["deps"]}


def _digest(path: Path) -> str | None:
    """The SHA-256 of a file; None if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

"""The inputs of a stage, as dvc.yaml lists them, and a check that nobody changed them while the stage ran.

DVC hashes the dependencies of a stage when it has ended: what is edited meanwhile would be recorded beside results that
never saw it (https://github.com/treeverse/dvc/issues/11058).
"""

from __future__ import annotations

import functools
import hashlib
import operator
import re
from pathlib import Path
from typing import Any

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import CHECKED, CODE, PARAMS_FILE, PIPELINE_FILE, STAGES, TASKS


class Inputs:
    """The dependencies and params of ``stage`` as they are now."""

    def __init__(self, stage: str) -> None:
        listed = read_sections(PIPELINE_FILE)["stages"][stage]
        self.params = read_sections(PARAMS_FILE)  # all of them
        self._sections = listed.get("params", [])
        paths = [_interpolate(path, self.params) for path in listed["deps"]]
        self._paths = [path for path in paths if path != str(CHECKED)]  # which follows from the others
        self.before = self._now()

    @property
    def files(self) -> list[str]:
        """The paths of all that the stage reads."""
        return [str(PARAMS_FILE), *self._paths]

    @property
    def digests(self) -> dict[str, str | None]:
        """The SHA-256 of each dependency."""
        return {path: self.before[path] for path in self._paths}

    def check_unchanged(self) -> None:
        """Refuse to let results be recorded for what they were not made from.

        Raises:
            UserError: If a dependency or a section of the params is not what it was.
        """
        now = self._now()
        changed = [name for name, content in self.before.items() if now[name] != content]
        if changed:
            raise UserError(f"{', '.join(changed)} changed while the stage ran; nothing was recorded: run it again")

    def _now(self) -> dict[str, Any]:
        params = read_sections(PARAMS_FILE)
        sections = {f"{section} in {PARAMS_FILE}": params.get(section) for section in self._sections}
        return sections | {path: _digest(Path(path)) for path in self._paths}


def _interpolate(path: str, params: dict[str, Any]) -> str:
    """Replace ``${train.init_from}`` in ``path`` by the value of that param."""

    def value(match: re.Match[str]) -> str:
        return functools.reduce(operator.getitem, match[1].split("."), params)  # type: ignore[return-value]  # text

    return re.sub(r"\$\{([\w.]+)}", value, path)


def _digest(path: Path) -> str | None:
    """Compute the SHA-256 of a file, or of a folder's files and their names; None if there is neither."""
    if path.is_dir():
        listing = "".join(f"{file.relative_to(path)} {_digest(file)}\n" for file in _files(path))
        return hashlib.sha256(listing.encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _files(folder: Path) -> list[Path]:
    """List the files of ``folder`` that count, as .dvcignore tells DVC: of the stages' code only Python files."""
    pattern = "*.py" if folder.is_relative_to(CODE) or folder == STAGES else "*"
    files = (file for file in folder.rglob(pattern) if file.is_file())
    return sorted(files if folder.parent != TASKS else filter(_is_of_a_project, files))


def _is_of_a_project(file: Path) -> bool:
    """Tell whether a file in tasks/ is what an experiment is made of: not a test, nor what tools leave there."""
    _, _, *path = file.parts
    made = any(name.startswith(".") or name == "__pycache__" or name.endswith(".egg-info") for name in path)
    return path == ["pyproject.toml"] or (path[0] == "src" and not made)

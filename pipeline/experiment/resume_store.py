"""The checkpoints of a training, in ``.resume/``, until DVC has recorded it. Neither DVC nor Git touches them there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from pipeline.experiment import interruption
from pipeline.experiment.errors import UserError
from pipeline.experiment.files import explained, write_atomically
from pipeline.experiment.paths import LOCK_FILE, RESUME

FINISHED = "finished"  # holds the digest under which DVC will record the policy that the training ended with
SUMS = "SHA256SUMS"  # `sha256sum -c` reads it; written last, so that what lacks it is half-written
FULL = 2  # newest checkpoints of an experiment that keep all their files, so that a training can go on from them
EXPERIMENTS = 32  # that were stopped and not taken up again; older ones are deleted
LOCK_TIMEOUT = interruption.PATIENCE + 10.0  # seconds for a run of the same experiment that is just ending


class ResumeStore:
    """The checkpoints of one experiment, as ``.resume/<digest of its identity>/<timesteps>/``.

    Args:
        repository: The folder that holds ``.resume/``.
        identity: Everything that decides the bits of the training, as plain values.
        policy: Names of the files that every checkpoint keeps, when newer ones have taken its place.
    """

    def __init__(self, repository: Path, identity: Mapping[str, Any], policy: Iterable[str]) -> None:
        self.root = repository / RESUME
        self.folder = self.root / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self.policy = tuple(policy)
        self._lock = FileLock(self.folder.with_suffix(".lock"), timeout=LOCK_TIMEOUT)

    def __enter__(self) -> Self:
        """Keep other runs of this experiment out.

        Raises:
            UserError: If there is one, and it does not end within half a minute, or the folder cannot be written.
        """
        try:
            with explained(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
        except Timeout:
            raise UserError(
                "this very experiment is running elsewhere on this machine; wait for it, or stop it"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        self._lock.release()

    def finish(self, policy: Path) -> None:
        """Note that the training has ended with the weights in ``policy``, for :func:`forget_recorded`."""
        write_atomically(self.folder / FINISHED, hashlib.md5(policy.read_bytes()).hexdigest().encode())

    def save(self, timesteps: int, files: Mapping[str, bytes]) -> None:
        """Write a checkpoint; of those before the one before it, only the policy stays."""
        target = self.checkpoint(timesteps)
        (target / SUMS).unlink(missing_ok=True)
        for name, content in files.items():
            write_atomically(target / name, content)
        sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
        write_atomically(target / SUMS, sums.encode())
        before = [number for number in self._all() if number < timesteps]
        for old in before[: 1 - FULL]:
            for name in files.keys() - set(self.policy):
                (self.checkpoint(old) / name).unlink(missing_ok=True)
        self._forget_abandoned()

    def read(self, timesteps: int) -> dict[str, bytes]:
        """Read those files of a checkpoint that are whole, by their names: each is held against its digest."""
        folder = self.checkpoint(timesteps)
        lines = (_content(folder / SUMS) or b"").decode(errors="replace").splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        files = {name: _content(folder / name) for name in sums}
        return {
            name: content
            for name, content in files.items()
            if content is not None and hashlib.sha256(content).hexdigest() == sums[name]
        }

    def set_aside(self, used: Iterable[int]) -> list[int]:
        """Rename the checkpoints that are not ``used``, whatever they are, so that they are in nobody's way.

        Returns:
            Their timesteps.

        Raises:
            UserError: If one cannot be renamed.
        """
        unused = sorted(set(self._all()) - set(used))
        for timesteps in unused:
            path = self.checkpoint(timesteps)
            with explained(path):
                path.rename(path.with_name(f"{timesteps}.damaged.{time.time_ns()}"))
        return unused

    def checkpoint(self, timesteps: int) -> Path:
        """Return the folder of a checkpoint."""
        return self.folder / str(timesteps)

    def _all(self) -> list[int]:
        """List the timesteps of all that has the name of a checkpoint, in order; other files are not ours."""
        return sorted(int(path.name) for path in _named(self.folder, "0|[1-9][0-9]*"))

    def _forget_abandoned(self) -> None:
        others = [folder for folder in _experiments(self.root) if folder != self.folder]
        for folder in sorted(others, key=_modified)[:-EXPERIMENTS]:
            _delete(folder)


def forget_recorded(repository: Path) -> None:
    """Delete the checkpoints of the trainings whose policy stands in the workspace's dvc.lock: they are of no more use.

    Every stage does so as it starts. The end of the training would be too early: DVC could be killed before it has
    recorded it. After the start it would be too late: a training that is asked for again (``--force``) would go on from
    the checkpoints of the one before.
    """
    recorded = _content(LOCK_FILE) or b""
    for folder in _experiments(repository / RESUME):
        finished = _content(folder / FINISHED) or b""
        if re.fullmatch(b"[0-9a-f]{32}", finished) and finished in recorded:
            _delete(folder)


def _experiments(root: Path) -> list[Path]:
    """List the folders of experiments. What has other names is somebody's own."""
    return _named(root, "[0-9a-f]{16}")


def _named(folder: Path, pattern: str) -> list[Path]:
    """List what is in ``folder``, of whatever kind, and has such a name."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return [path for path in paths if re.fullmatch(pattern, path.name)]


def _modified(path: Path) -> float:
    """Read when ``path`` was written, in seconds; 0 if another run has just deleted it."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _content(path: Path) -> bytes | None:
    """Read a file; None if there is none that this user can read."""
    with contextlib.suppress(OSError):
        if path.is_file():
            return path.read_bytes()
    return None


def _delete(folder: Path) -> None:
    """Delete an experiment's checkpoints, unless it is running."""
    with contextlib.suppress(OSError), FileLock(folder.with_suffix(".lock"), blocking=False):
        shutil.rmtree(folder, ignore_errors=True)

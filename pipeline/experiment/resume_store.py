"""The checkpoints of a training, in ``.resume/``, until DVC has recorded it. Neither DVC nor Git touches them there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from pipeline.experiment import interruption
from pipeline.experiment.errors import UserError
from pipeline.experiment.files import read_text, write_atomically
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
            UserError: If there is one, and it does not end within half a minute.
        """
        try:
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
        target = self._checkpoint(timesteps)
        (target / SUMS).unlink(missing_ok=True)
        for name, content in files.items():
            write_atomically(target / name, content)
        sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
        write_atomically(target / SUMS, sums.encode())
        for old in self._all()[:-FULL]:
            for name in files.keys() - set(self.policy):
                (self._checkpoint(old) / name).unlink(missing_ok=True)
        self._forget_abandoned()

    def usable(self) -> list[int]:
        """List the timesteps of the checkpoints up to the newest that a training can go on from, oldest first.

        Every file is held against its digest. A policy that is damaged makes what came after it useless, since it is
        itself among the outputs of the training.
        """
        usable: list[int] = []
        intact: list[int] = []
        for timesteps in self._all():
            sums = self._sums(timesteps)
            if not sums.keys() >= set(self.policy) or not self._matches(timesteps, self.policy, sums):
                break
            intact.append(timesteps)
            if self._matches(timesteps, sums, sums):
                usable = intact.copy()
        return usable

    def read(self, timesteps: int) -> dict[str, bytes]:
        """Read the files of a checkpoint that :meth:`usable` names."""
        folder = self._checkpoint(timesteps)
        return {name: (folder / name).read_bytes() for name in self._sums(timesteps) if (folder / name).exists()}

    def newest(self) -> int | None:
        """Return the timesteps of the newest checkpoint, usable or not; None if there is none."""
        return max(self._all(), default=None)

    def _checkpoint(self, timesteps: int) -> Path:
        return self.folder / str(timesteps)

    def _all(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.glob("[0-9]*"))

    def _sums(self, timesteps: int) -> dict[str, str]:
        lines = read_text(self._checkpoint(timesteps) / SUMS).splitlines()
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def _matches(self, timesteps: int, names: Iterable[str], sums: Mapping[str, str]) -> bool:
        paths = {name: self._checkpoint(timesteps) / name for name in names}
        return all(
            path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sums[name]
            for name, path in paths.items()
        )

    def _forget_abandoned(self) -> None:
        others = [path for path in self.root.iterdir() if path.is_dir() and path != self.folder]
        for folder in sorted(others, key=lambda path: path.stat().st_mtime)[:-EXPERIMENTS]:
            _delete(folder)


def forget_recorded(repository: Path) -> None:
    """Delete the checkpoints of the trainings whose policy stands in the workspace's dvc.lock: they are of no more use.

    Every stage does so as it starts. The end of the training would be too early: DVC could be killed before it has
    recorded it. After the start it would be too late: a training that is asked for again (``--force``) would go on from
    the checkpoints of the one before.
    """
    recorded = read_text(LOCK_FILE)
    for finished in (repository / RESUME).glob(f"*/{FINISHED}"):
        if finished.read_text() in recorded:
            _delete(finished.parent)


def _delete(folder: Path) -> None:
    """Delete an experiment's checkpoints, unless it is running."""
    with contextlib.suppress(Timeout), FileLock(folder.with_suffix(".lock"), blocking=False):
        shutil.rmtree(folder, ignore_errors=True)

"""Folders that appear whole: filled beside their place, and put there at once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.experiment.errors import UserError

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2(2)
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # what file systems say that cannot, as NFS


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Make an empty folder on the file system of ``target``, and remove it at the end, or in the next run.

    Whoever uses the folder holds a lock on it, which ends with the process, however that ends.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = f".{target.name}.", ".part"
    for leftover in target.parent.glob(f"{glob.escape(prefix)}*{suffix}"):
        with contextlib.suppress(OSError), _locked(leftover):
            shutil.rmtree(leftover)
    with (
        tempfile.TemporaryDirectory(suffix, prefix, target.parent, ignore_cleanup_errors=True) as folder,
        _locked(Path(folder)),
    ):
        filled = Path(folder) / target.name  # which has the rights of any new folder
        filled.mkdir()
        yield filled


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``; raises BlockingIOError if another process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def put_in_place(filled: Path, target: Path) -> None:
    """Let ``target`` be the folder ``filled``, at once; what it was before is then at ``filled``.

    Raises:
        UserError: If there is something at ``target`` that this file system cannot exchange.
    """
    for file in filter(Path.is_file, filled.rglob("*")):
        with file.open("rb") as written:
            os.fsync(written.fileno())  # a power cut is an interruption, too
    if not target.exists():
        filled.rename(target)
    elif ctypes.CDLL(None, use_errno=True).renameat2(
        AT_FDCWD, os.fsencode(filled), AT_FDCWD, os.fsencode(target), RENAME_EXCHANGE
    ):
        code = ctypes.get_errno()
        remedy = "move that away, and run the same again" if code in NO_EXCHANGE else "nothing was changed"
        raise UserError(f"TO: {target} cannot be exchanged for a new folder: {os.strerror(code)}; {remedy}")

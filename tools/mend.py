"""Mend what DVC leaves if it is killed as it writes: half a dvc.lock, or a folder without an entry in its run cache."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo

BROKEN = f"{LOCK_FILE}.broken"


def main() -> None:
    """Do nothing unless DVC would fail on it; what it has finished since the commit is in its run cache."""
    repo = Repo()
    _drop_empty_entries(Path(repo.stage_cache.cache_dir))
    _restore_lock(Lockfile(repo, LOCK_FILE))


def _drop_empty_entries(run_cache: Path) -> None:
    for folder in run_cache.glob("*/*"):
        with contextlib.suppress(OSError):  # it is not empty, or DVC is filling it right now
            folder.rmdir()


def _restore_lock(lock: Lockfile) -> None:
    try:
        lock.load()
    except DvcException as error:
        os.replace(LOCK_FILE, BROKEN)
        command = ["git", "checkout", "--quiet", "HEAD", "--", LOCK_FILE]
        restored = not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
        now = "it is as in Git again" if restored else "Git has none, and DVC begins another"
        print(f"DVC could not read {LOCK_FILE} ({' '.join(str(error).split())}); {now}, see {BROKEN}")


if __name__ == "__main__":
    main()

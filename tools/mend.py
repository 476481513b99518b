"""Put dvc.lock back as Git has it, if DVC was killed as it wrote it: DVC writes it in place, and does not read half."""

from __future__ import annotations

import os
import subprocess

from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo

BROKEN = f"{LOCK_FILE}.broken"


def main() -> None:
    """Do nothing unless DVC cannot read dvc.lock. What it has finished since the commit is in its run cache."""
    lock = Lockfile(Repo(), LOCK_FILE)
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

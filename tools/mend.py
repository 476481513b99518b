"""Mend what DVC leaves if it is killed.

As it writes: half a dvc.lock, or a folder without an entry in its run cache; in an experiment: a detached HEAD.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from pathlib import Path

from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.refs import EXEC_BASELINE, EXEC_MERGE

BROKEN = f"{LOCK_FILE}.broken"


def main() -> None:
    """Do nothing unless DVC was killed; what it has finished since the commit is in its run cache."""
    repo = Repo()
    _leave_experiment(repo)
    _drop_empty_entries(Path(repo.stage_cache.cache_dir))
    _restore_lock(Lockfile(repo, LOCK_FILE))


def _leave_experiment(repo: Repo) -> None:
    """Go back to the branch where ``dvc exp run`` had detached HEAD, unless it is running, or HEAD has moved on."""
    if repo.experiments.workspace_queue.get_running_exp():
        return
    if branch := _left_by_dvc():
        _git("switch", "--quiet", branch)
        print(f"DVC was killed in an experiment, with HEAD detached; Git is on {branch} again, and no file has changed")
    for ref in filter(repo.scm.get_ref, (EXEC_BASELINE, EXEC_MERGE)):
        repo.scm.remove_ref(ref)


def _left_by_dvc() -> str:
    """The branch that HEAD would be on, had DVC not been killed; nothing if HEAD is where somebody else put it.

    DVC detaches HEAD twice, to save the params and to run; the killed one, and all that came after, did not go back.
    """
    head = _git("rev-parse", "HEAD")
    if _git("branch", "--show-current"):
        return ""
    for move, before in itertools.pairwise(_git("reflog", "--format=%gs", "HEAD").splitlines()):
        source = move.removeprefix("checkout: moving from ").removesuffix(f" to {head}")
        if source not in (move, head):
            saved = before == f"dvc: Restore HEAD to '{source}'"
            return source if saved and _git("rev-parse", f"refs/heads/{source}") == head else ""
        if source == move and not move.startswith(("dvc: ", "commit: dvc: ")):
            return ""
    return ""


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=False, stdout=subprocess.PIPE, text=True).stdout.strip()


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

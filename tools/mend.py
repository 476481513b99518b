"""Mend what a killed DVC leaves: half a dvc.lock, an entry of its run cache without content, Git on no branch."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.refs import EXEC_BASELINE, EXEC_MERGE
from dvc.scm import NoSCM

from pipeline.experiment.errors import one_line
from pipeline.experiment.paths import PARAMS_FILE
from pipeline.experiment.preflight import let_git_see
from pipeline.experiment.provenance import output_of

BROKEN = f"{LOCK_FILE}.broken"


def main() -> None:
    """Do nothing unless DVC was killed; what it has finished since the commit is in its run cache."""
    try:
        repo = Repo()
    except DvcException as error:
        sys.exit(
            f"DVC cannot run here: {one_line(error)}; where Git has no part in it, as in a downloaded archive, run "
            "`dvc config core.no_scm true` (experiments need Git: `git init`)"
        )
    let_git_see(PARAMS_FILE)
    _leave_experiment(repo)
    _drop_empty_entries(Path(repo.stage_cache.cache_dir))
    _restore_lock(Lockfile(repo, LOCK_FILE))


def _leave_experiment(repo: Repo) -> None:
    """Remove the marks of a killed ``dvc exp run``, and say how to leave the detached HEAD on which it ran."""
    if isinstance(repo.scm, NoSCM):
        return
    marks = [mark for mark in (EXEC_BASELINE, EXEC_MERGE) if repo.scm.get_ref(mark)]
    if not marks or repo.experiments.workspace_queue.get_running_exp():
        return
    for mark in marks:
        repo.scm.remove_ref(mark)
    if not output_of("git", "symbolic-ref", "--quiet", "HEAD"):
        _return_to_branch()


def _return_to_branch() -> None:
    """Go back to the branch that DVC came from, if it is still at this commit: no file changes then."""
    said = "DVC was killed in an experiment, and left Git on no branch"
    branch = output_of("git", "rev-parse", "--symbolic-full-name", "@{-1}")
    if branch and output_of("git", "rev-parse", branch) == output_of("git", "rev-parse", "HEAD"):
        subprocess.run(["git", "symbolic-ref", "HEAD", branch], check=True)
        print(
            f"{said}; it is on {branch.removeprefix('refs/heads/')} again, with all files as the experiment left them"
        )
    else:
        print(f"{said}; go back with `git switch main` (your branch)")


def _drop_empty_entries(run_cache: Path) -> None:
    for folder in run_cache.glob("*/*"):
        with contextlib.suppress(OSError):  # it is not empty, or DVC is filling it right now
            folder.rmdir()


def _restore_lock(lock: Lockfile) -> None:
    try:
        lock.load()
    except DvcException as error:
        Path(LOCK_FILE).replace(BROKEN)
        command = ["git", "checkout", "--quiet", "HEAD", "--", LOCK_FILE]
        restored = not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
        now = "it is as in Git again" if restored else "Git has none, and DVC begins another"
        print(f"DVC could not read {LOCK_FILE} ({one_line(error)}); {now}, see {BROKEN}")


if __name__ == "__main__":
    main()

"""`python -m tools.mend` undoes what a killed DVC has left, and nothing else; here without running a stage."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import Project

pytestmark = [pytest.mark.unit, pytest.mark.slow]

RESTORE = "dvc: Restore HEAD to 'main'"  # what DVC writes into Git's reflog before it detaches HEAD


def mend(project: Project) -> str:
    """What the tool says."""
    return project.run(sys.executable, "-m", "tools.mend").stdout


def git(project: Project, *words: str) -> str:
    return project.run("git", *words).stdout.strip()


def leave_detached(project: Project) -> None:
    """Leave HEAD as a DVC that was killed in an experiment does."""
    git(project, "commit", "--quiet", "--allow-empty", "--message", "Params")
    git(project, "update-ref", "-m", RESTORE, "HEAD", "HEAD~1")
    git(project, "checkout", "--quiet", "--detach", git(project, "rev-parse", "main"))


def test_a_broken_dvc_lock_that_git_has_none_of_is_put_aside(untouched: Project):
    (untouched.folder / "dvc.lock").write_text("schema: '2.0'\nstages:\n  train: {")
    said = mend(untouched)
    assert said.startswith("DVC could not read dvc.lock (")
    assert said.endswith("); Git has none, and DVC begins another, see dvc.lock.broken\n")
    assert not (untouched.folder / "dvc.lock").exists()
    assert (untouched.folder / "dvc.lock.broken").read_text().endswith("train: {")
    assert not git(untouched, "status", "--porcelain"), "and Git ignores it"
    assert not mend(untouched)


def test_a_detached_head_goes_back_to_its_branch_and_no_file_changes(untouched: Project):
    leave_detached(untouched)
    untouched.edit_params({"seed": 5})
    assert "Git is on main again, and no file has changed" in mend(untouched)
    assert git(untouched, "branch", "--show-current") == "main"
    assert "seed: 5" in (untouched.folder / "params.yaml").read_text()
    assert not mend(untouched)


def test_a_detached_head_stays_if_its_branch_has_gone_on(untouched: Project):
    """The branch has other files by now, which would come into the workspace."""
    leave_detached(untouched)
    later = git(untouched, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "Later")
    git(untouched, "update-ref", "refs/heads/main", later)
    assert not mend(untouched)
    assert not git(untouched, "branch", "--show-current")


def test_the_marks_of_an_experiment_that_is_over_are_removed(untouched: Project):
    for name in ("EXEC_BASELINE", "EXEC_MERGE"):
        git(untouched, "update-ref", f"refs/exps/exec/{name}", "HEAD")
    assert not mend(untouched)
    assert not git(untouched, "for-each-ref", "refs/exps/exec")

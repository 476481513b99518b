"""`python -m tools.mend` undoes what a killed DVC has left, and nothing else; here without running a stage."""

from __future__ import annotations

import re
import shutil
import sys

import pytest

from tests.conftest import Project

pytestmark = [pytest.mark.unit, pytest.mark.slow]


def mend(project: Project) -> str:
    """What the tool says."""
    return project.run(sys.executable, "-m", "tools.mend").stdout


def git(project: Project, *words: str) -> str:
    return project.run("git", *words).stdout.strip()


def test_a_broken_dvc_lock_that_git_has_none_of_is_put_aside(fresh_project: Project):
    (fresh_project.folder / "dvc.lock").write_text("schema: '2.0'\nstages:\n  train: {")
    said = mend(fresh_project)
    assert said.startswith("DVC could not read dvc.lock (")
    assert said.endswith("); Git has none, and DVC begins another, see dvc.lock.broken\n")
    assert not (fresh_project.folder / "dvc.lock").exists()
    assert (fresh_project.folder / "dvc.lock.broken").read_text().endswith("train: {")
    assert not git(fresh_project, "status", "--porcelain"), "and Git ignores it"
    assert not mend(fresh_project)


def test_the_marks_of_an_experiment_that_is_over_are_removed(fresh_project: Project):
    for name in ("EXEC_BASELINE", "EXEC_MERGE"):
        git(fresh_project, "update-ref", f"refs/exps/exec/{name}", "HEAD")
    assert not mend(fresh_project), "Git is on its branch"
    assert not git(fresh_project, "for-each-ref", "refs/exps/exec")
    git(fresh_project, "update-ref", "refs/exps/exec/EXEC_BASELINE", "HEAD")
    git(fresh_project, "checkout", "--quiet", "--detach")
    assert "left Git on no branch; it is on main again" in mend(fresh_project)
    assert git(fresh_project, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert not mend(fresh_project)


def test_a_detached_head_stays_where_it_is(fresh_project: Project):
    fresh_project.run("git", "commit", "--quiet", "--allow-empty", "--message", "Two")
    git(fresh_project, "checkout", "--quiet", "--detach", "HEAD~1")
    there = git(fresh_project, "rev-parse", "HEAD")
    assert not mend(fresh_project), "who has detached HEAD by choice wants it so"
    git(fresh_project, "update-ref", "refs/exps/exec/EXEC_BASELINE", "main")  # as of an experiment on the branch
    assert "left Git on no branch; go back with `git switch main`" in mend(fresh_project)
    assert git(fresh_project, "rev-parse", "HEAD", "--abbrev-ref", "HEAD").split() == [there, "HEAD"]


def test_without_git_there_is_one_sentence_that_says_what_to_do_and_it_helps(fresh_project: Project):
    shutil.rmtree(fresh_project.folder / ".git")
    refused = fresh_project.run(sys.executable, "-m", "tools.mend", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("DVC cannot run here: ")
    assert refused.stderr.count("\n") == 1
    (command,) = re.findall("`(dvc [^`]+)`", refused.stderr)
    fresh_project.run(*command.split())
    assert not mend(fresh_project)
    (fresh_project.folder / "dvc.lock").write_text("stages: {")
    assert "Git has none, and DVC begins another" in mend(fresh_project)
    assert not fresh_project.run("dvc", "status", "--json", "check").stderr

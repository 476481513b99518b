"""Revisions of this repository: commits, tags, branches and experiments; also where it is a folder of a larger one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.scm import SCM, resolve_rev

from pipeline.experiment.errors import UserError, one_line


def git(*arguments: str, given: str = "", folder: Path | None = None, blame: str) -> str:
    """Run Git in ``folder``, or here, with ``given`` as its input, and return what it prints.

    Raises:
        UserError: If it fails: ``blame``, then what Git says.
    """
    done = subprocess.run(
        ["git", *arguments], cwd=folder, input=given, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise UserError(f"{blame}: `git {arguments[0]}` failed: {one_line(done.stderr)}")
    return done.stdout.strip()


def commit_of(revision: str) -> str:
    """Find the commit that ``revision`` names; exits with a sentence if there is none."""
    if subprocess.run(["git", "rev-parse"], check=False).returncode:  # where it is another user's, for one
        sys.exit("Git cannot read this repository: it has said why, and what to do")
    try:
        return resolve_rev(SCM("."), revision)  # not of DVC's Repo, which writes, where one may only be able to read
    except DvcException as error:
        sys.exit(f"{error}; see `git log` and `dvc exp list`")


def experiments(study: str) -> set[str]:
    """List the experiments of this repository, of any commit, whose names are of a study: ``<study>-0012-s3``."""
    pattern = f"refs/exps/*/*/{study}-[0-9][0-9][0-9][0-9]-s*"
    listed = git("for-each-ref", "--format=%(refname)", pattern, blame=f"experiments of {study}")
    return {name.rpartition("/")[2] for name in listed.split()}


def metrics_at(revision: str, *files: Path) -> dict[str, float]:
    """Read the numbers in the metrics files of ``revision``; of a file that it does not have, none."""
    contents = [json.loads(file_at(revision, str(path), missing="{}")) for path in files]
    return {name: float(value) for one in contents for name, value in one.items() if isinstance(value, int | float)}


def file_at(revision: str, path: str, missing: str | None = None) -> str:
    """Read a file of ``revision``; if it has none, returns ``missing``, or without that exits with a sentence."""
    command = ["git", "show", f"{commit_of(revision)}:./{path}"]  # ./: from this folder, and not from Git's topmost
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode and missing is not None:
        return missing
    if shown.returncode:
        sys.exit(f"{revision} has no {path}")
    return shown.stdout

"""Revisions of this repository: commits, tags, branches and experiments."""

from __future__ import annotations

import subprocess
import sys

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.scm import resolve_rev


def commit_of(revision: str) -> str:
    """The commit that ``revision`` names; exits with a sentence if there is none."""
    try:
        return resolve_rev(Repo().scm, revision)
    except DvcException as error:
        sys.exit(f"{error}; see `git log` and `dvc exp list`")


def file_at(revision: str, path: str) -> str:
    """The content of a file in ``revision``; exits with a sentence if it has none."""
    shown = subprocess.run(
        ["git", "show", f"{commit_of(revision)}:{path}"], capture_output=True, text=True, check=False
    )
    if shown.returncode:
        sys.exit(f"{revision} has no {path}")
    return shown.stdout

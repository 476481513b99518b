"""A clone of this repository in which nothing has run, and which can take data from this repository's DVC.

This repository itself is only read, and DVC is never asked about it: it would write locks and a database.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from configobj import ConfigObj
from dvc.config import Config

from pipeline.experiment.errors import UserError
from pipeline.experiment.paths import LOCK_FILE
from tools.revisions import commit_of, git

DVC = (sys.executable, "-m", "dvc")
CACHE = "cache-of-the-original"  # this repository's cache, which is a remote to the clone

_git = partial(git, blame="the clone")


def check_out(revision: str, folder: Path) -> Path:
    """Clone this repository into ``folder`` without its data, at ``revision``; return this project's folder there."""
    commit = commit_of(revision)
    top, prefix = (_git("rev-parse", f"--show-{what}") for what in ("toplevel", "prefix"))
    # --shared: an experiment's commit is on no branch, which a clone would leave out.
    _git("clone", "--quiet", "--shared", "--no-checkout", top, str(folder))
    _git("-c", "advice.detachedHead=false", "checkout", "--quiet", commit, folder=folder)
    clone = folder / prefix
    if not (clone / LOCK_FILE).exists():
        raise UserError(f"{revision} has no {LOCK_FILE}, so that it has no results to verify")
    _configure(clone)
    return clone


def bring_tracked_data(clone: Path) -> None:
    """Fetch what the revision has under `dvc add`, such as a policy to start from."""
    files = _git("ls-files", "*.dvc", folder=clone).splitlines()
    if files and not pull(clone, files):
        raise UserError(
            f"neither this repository's cache nor its remote gave the data of {', '.join(files)}; `make pull` "
            "tells more, and `make push`, where they are, brings them to the remote"
        )


def pull(clone: Path, paths: Iterable[str]) -> bool:
    """Bring data that the commit names from this repository's cache, or else from its remote; False if neither can."""
    _git("checkout", "--quiet", "HEAD", "--", ".", folder=clone)  # dvc.lock, where DVC looks them up, and the metrics
    return any(
        not subprocess.run(
            [*DVC, "pull", "--force", *remote, *paths], cwd=clone, capture_output=True, check=False
        ).returncode
        for remote in (("--remote", CACHE), ())
    )


def _configure(clone: Path) -> None:
    """Give the clone a cache of its own, and let it pull from this repository's cache and remotes."""
    here = Config.from_cwd()
    remotes = {CACHE: {"url": here["cache"].get("dir") or str(Path(".dvc/cache").resolve())}} | here["remote"]
    there = ConfigObj(encoding="utf-8")  # DVC itself fails to write a path with other letters than ASCII's
    there["cache"] = {"dir": str(clone / ".dvc/cache")}
    there["core"] = {"remote": here["core"].get("remote", CACHE)}
    for name, remote in remotes.items():
        there[f'remote "{name}"'] = {**remote, "verify": True}  # a damaged object is as good as none
    there.filename = str(clone / ".dvc/config.local")
    there.write()

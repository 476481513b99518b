"""List what can be deleted on this machine, and delete it when asked again: ``make tidy``. No remote is touched."""

from __future__ import annotations

import argparse
import re
import shutil
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from dvc.repo import Repo

from pipeline.experiment.errors import UserError
from pipeline.experiment.paths import LOGS, RESUME
from tools.revisions import git
from tools.storage.outputs import files_in
from tools.storage.store import State, Store

DAY = 86400  # seconds; what is younger may be of a run that goes on, and nothing names it yet
WHAT = {
    "cache": "objects of DVC that no commit, tag or experiment of this repository names",
    LOGS: "runs: their curves for TensorBoard, and what made them",
    RESUME: "trainings that were stopped, and could go on",
}

_git = partial(git, blame="nothing is deleted, since Git cannot tell what its commits name")


def main() -> None:
    """Print a line for each kind of thing, with its size."""
    parser = argparse.ArgumentParser(prog="make tidy", description=__doc__)
    parser.add_argument("delete", nargs="*", choices=["yes", *WHAT], help="what to delete; yes: all of it")
    delete = parser.parse_args().delete
    for kind, paths in {"cache": _unnamed(Repo()), LOGS: _folders(LOGS), RESUME: _folders(RESUME)}.items():
        idle = [path for path in paths if time.time() - _modified(path) > DAY]
        size = sum(file.stat().st_size for path in idle for file in _files(path)) / 1e6
        deleted = {"yes", kind} & {*delete}
        print(f"{'deleted' if deleted else 'can go'}  {kind:8}{size:10,.1f} MB  {len(idle)} {WHAT[kind]}")
        for path in idle if deleted else []:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not delete:
        print("`make tidy DELETE=yes` deletes them, DELETE=cache only those; `dvc exp remove` removes an experiment")


def _unnamed(repo: Repo) -> list[Path]:
    """List the objects in the cache that nothing here names, not even a commit that is only in Git's log of HEAD.

    Raises:
        UserError: If it cannot be known what is named.
    """
    cache = Store(repo.cache.local, "the cache")
    if not Path(cache.objects.path).is_relative_to(repo.root_dir):
        print(f"kept     {cache.objects.path}: others may use that cache too")
        return []
    named = _named()
    lists = cache.states(digest for digest in named if digest.endswith(".dir"))
    if State.DAMAGED in lists.values():
        raise UserError(
            "nothing is deleted, since the list of a folder's files is damaged; first `make fsck REPAIR=yes`"
        )
    named |= {file for digest in lists for _, file in files_in(digest, [cache])}
    return [Path(cache.objects.oid_to_path(digest)) for digest in cache.objects.all() if digest not in named]


def _named() -> set[str]:
    """Find all digests that ever stood in a dvc.lock or .dvc file: of outputs, and of what needs none of them."""
    files = (":(top,glob)**/dvc.lock", ":(top,glob)**/*.dvc")
    history = ["log", "--all", "--reflog", "-p", "-m", "--root", "--text", "--no-ext-diff", "--format=", "--", *files]
    listed = _git("ls-files", "-z", "--cached", "--others", "--", *files).split("\0")
    here = [Path(name) for name in listed if name] + [*Path(".dvc/tmp/exps").rglob("dvc.lock")]
    texts = [_git(*history), *(path.read_text(errors="replace") for path in here if path.is_file())]
    return {digest for text in texts for digest in re.findall(r"\b[0-9a-f]{32}(?:\.dir)?", text)}


def _folders(root: str) -> list[Path]:
    return [path for path in Path(root).glob("*") if path.is_dir()]


def _files(path: Path) -> Iterable[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _modified(path: Path) -> float:
    return max((file.stat().st_mtime for file in _files(path)), default=path.stat().st_mtime)


if __name__ == "__main__":
    main()

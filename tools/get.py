"""Bring the model of a version, of this repository or of another, into a folder: ``make get``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.open_repo import clean_repos
from dvc.scm import resolve_rev
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs.local import localfs

from pipeline.experiment.errors import UserError, one_line
from pipeline.experiment.paths import LOCK_FILE
from tools.delivery import beside, put_in_place
from tools.pull import bring
from tools.storage.outputs import objects
from tools.storage.patience import PATIENCE
from tools.storage.store import Store, open_stores

ARTIFACT = "policy"  # of dvc.yaml, and of the tags: policy@v1.0.0, as GTO names them
LINEAGE = (LOCK_FILE.name, "COMMIT")  # beside the model: what no output can hold, since it names all outputs


def main() -> None:
    """Exit with 1 and a sentence if it cannot be brought whole; what was in the folder is there then."""
    parser = argparse.ArgumentParser(prog="make get", description=__doc__)
    parser.add_argument("--version", default="", help="such as v1.0.0, or any commit, tag or branch")
    parser.add_argument("--to", default="", help="a folder; the model of another version in it is replaced")
    parser.add_argument("--from", dest="source", default="", help="path or URL of another repository")
    given = parser.parse_args()
    if not (given.version and given.to):
        raise UserError("get: say VERSION=v1.0.0 TO=<a folder>, and FROM=<path or URL> for another repository's")
    try:
        get(given.version, Path(given.to).resolve(), given.source)
    except (DvcException, OSError) as error:
        raise UserError(f"get: {given.source or given.to}: {one_line(error.__cause__ or error)}") from None
    finally:
        clean_repos()  # which DVC has cloned
    print(f"{given.to} has the model of {given.version}, each byte as its dvc.lock says")


def get(version: str, target: Path, source: str) -> None:
    """Bring the model of ``version`` from ``source``, or this repository, into ``target``.

    Raises:
        UserError: If there is no such model, the remote cannot give it whole, or ``target`` holds something else.
    """
    if source and not Path(source).is_dir():
        _check_reachable(source)
    repo, cache, remote = open_stores(Repo.open(source) if source else None)
    commit = _commit(repo, version)
    with repo.switch(commit):
        artifacts = repo.artifacts.read().get("dvc.yaml", {})
    if ARTIFACT not in artifacts:
        raise UserError(f"get: dvc.yaml of {version} has no artifact {ARTIFACT}")
    model = artifacts[ARTIFACT].path
    wanted = [each for each in objects(repo, [commit], [cache, remote]) if Path(each.path).is_relative_to(model)]
    _check_replaceable(target, {Path(each.path).relative_to(model).parts[0] for each in wanted} | {*LINEAGE})
    with beside(target) as folder:
        store = Store(HashFileDB(localfs, str(folder.parent / "objects")), str(target))
        store.take({each.digest for each in wanted}, cache)
        bring(wanted, store, remote)
        for each in wanted:
            if not each.is_folder:
                file = folder / Path(each.path).relative_to(model)
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(store.objects.oid_to_path(each.digest), file)
        with repo.switch(commit):
            (folder / LOCK_FILE.name).write_text(repo.fs.read_text(repo.fs.join(repo.root_dir, str(LOCK_FILE))))
        (folder / "COMMIT").write_text(f"{commit}\n")
        put_in_place(folder, target)


def _check_reachable(url: str) -> None:
    """Refuse what is no Git repository: DVC does not say why it cannot clone, and waits for ever."""
    asked = ["git", "ls-remote", "--quiet", url, "HEAD"]
    quietly = os.environ | {"GIT_TERMINAL_PROMPT": "0"}  # no question for a password
    try:
        done = subprocess.run(asked, env=quietly, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise UserError(f"get: FROM: {url} has not answered for {PATIENCE:.0f} seconds") from None
    if done.returncode:
        raise UserError(f"get: FROM: {one_line(done.stderr)}")


def _commit(repo: Repo, version: str) -> str:
    for name in (f"{ARTIFACT}@{version}", version):
        with contextlib.suppress(DvcException):
            return resolve_rev(repo.scm, name)
    tags = [tag.partition("@")[2] for tag in repo.scm.list_tags() if tag.startswith(f"{ARTIFACT}@")]
    known = f"the versions are {', '.join(tags) or 'none'}"
    raise UserError(f"get: VERSION: there is no {version}; {known}; `git fetch --tags` brings the newest")


def _check_replaceable(target: Path, names: set[str]) -> None:
    """Refuse to replace what is not the same model of another version, since all of it would be gone."""
    if target.exists() and not target.is_dir():
        raise UserError(f"get: TO: {target} is no folder")
    if others := [path.name for path in target.glob("*") if path.name not in names]:
        raise UserError(f"get: TO: {target} has {min(others)}, which is no part of that model; take another folder")


if __name__ == "__main__":
    main()

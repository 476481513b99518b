"""Publish this commit's model as a version: push it, prove that a fresh clone gets it, and only then tag it."""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from dvc.exceptions import OutputNotFoundError
from dvc.repo import Repo

from pipeline.experiment.errors import UserError, one_line
from pipeline.experiment.files import read_json
from pipeline.experiment.paths import CHECKED, EVALUATION, LOCK_FILE, MODELS
from tools.get import ARTIFACT
from tools.push import GIT_REMOTE, push
from tools.revisions import git
from tools.storage.outputs import WORKSPACE, objects
from tools.storage.store import open_stores
from tools.verification.fresh_clone import check_out
from tools.verification.recorded import recorded_stages

_git = partial(git, blame="publish: nothing is published")
VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
# How `git ls-remote` lists tags; ^{} marks the commit of one that has a message.
TAG = re.compile(rf"(\w+)\trefs/tags/{ARTIFACT}@({VERSION.pattern})(?:\^{{}})?")


def main() -> None:
    """Exit with 1 and a sentence if anything is not as it should be; then nothing looks published."""
    parser = argparse.ArgumentParser(prog="make publish", description=__doc__)
    parser.add_argument("version", nargs="?", default="", help="such as v1.2.0")
    version = parser.parse_args().version
    tag = f"{ARTIFACT}@{version}"
    refuse(version, tag)
    repo, cache, remote = open_stores()
    push(objects(repo, [WORKSPACE], [cache, remote]), cache, remote)
    prove()
    publish_tag(tag)
    print(f"{tag} is published: `make get VERSION={version} TO=<folder>`, or `dvc artifacts get <URL> {ARTIFACT}`")


def refuse(version: str, tag: str) -> None:
    """Refuse what could not be told from another version later, or brought back.

    Raises:
        UserError: If it is no version, or one that exists, here or in the Git remote; if something is not committed,
            or dvc.lock is not of the code, params and outputs that are here.
    """
    if not VERSION.fullmatch(version):
        raise UserError(f"publish: say VERSION=v1.2.0, three numbers (given: {version or 'none'})")
    published = _published()
    if version in published:
        raise UserError(f"publish: there is a {tag} already; take the next version")
    if published and _numbers(version) < _numbers(newest := max(published, key=_numbers)):
        raise UserError(f"publish: {version} comes before {newest}, which is published; take the next version")
    commit = _git("rev-parse", "HEAD")
    if same := [other for other, its in published.items() if its == commit]:  # GTO could read neither then
        raise UserError(f"publish: this commit is {same[0]} already; a commit is one version")
    if changes := _git("status", "--porcelain"):
        raise UserError(
            f"publish: there are changes that no commit has ({one_line(changes)}); commit them, or move them away"
        )
    if here := [path for path in _read_by_stages() if not (_git("ls-files", "--", path) or _in_dvc(path))]:
        raise UserError(
            f"publish: neither Git nor DVC has {here[0]}, which a stage has read; copy it to where Git does not ignore "
            "it, `dvc add` the copy, and run the pipeline with that"
        )
    if stale := Repo().status():
        raise UserError(f"publish: {', '.join(stale)} is not up to date; `make repro`, and commit what it makes")


def _read_by_stages() -> set[str]:
    """List what the results were made from, but for what the stages make themselves."""
    stages = recorded_stages(Path()).values()
    made = {str(CHECKED), *(path for stage in stages for path in stage.outputs)}
    return {path for stage in stages for path in stage.inputs} - made


def _in_dvc(path: str) -> bool:
    try:
        return bool(Repo().find_outs_by_path(path, strict=False))
    except OutputNotFoundError:
        return False


def _published() -> dict[str, str]:
    """Find the versions that have a tag, here or in the Git remote, with their commits."""
    listed = "\n".join(_git("ls-remote", "--tags", remote) for remote in (".", GIT_REMOTE))
    return {version: commit for commit, version, *_ in TAG.findall(listed)}  # a tag's line, then that of its commit


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version[1:].split(".")]


def prove() -> None:
    """Bring everything into a fresh clone, each byte compared with what the commit's dvc.lock says.

    Raises:
        UserError: If the remote does not give all of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = check_out("HEAD", Path(folder) / "clone")
        pulled = subprocess.run(
            [sys.executable, "-m", "tools.pull"], cwd=clone, capture_output=True, text=True, check=False
        )
    if pulled.returncode:
        raise UserError(f"publish: nothing is tagged, since a fresh clone cannot pull: {one_line(pulled.stderr)}")


def publish_tag(tag: str) -> None:
    """Tag HEAD in the Git remote, with its commit, and then here: stopped in between, what is published is whole.

    Raises:
        UserError: If the Git remote does not take it.
    """
    head = f"object {_git('rev-parse', 'HEAD')}\ntype commit\ntag {tag}\ntagger {_git('var', 'GIT_COMMITTER_IDENT')}"
    made = _git("mktag", given=f"{head}\n\n{message(tag)}\n")
    _git("push", "--quiet", GIT_REMOTE, f"{made}:refs/tags/{tag}")
    _git("update-ref", f"refs/tags/{tag}", made)


def message(tag: str) -> str:
    """Say in the tag what no output can hold: the commit, and the digest of its dvc.lock, which has all others."""
    evaluation = read_json(EVALUATION)
    lines = {
        "commit": _git("rev-parse", "HEAD"),
        "dvc.lock": f"sha256:{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()}",
        "policy": f"sha256:{evaluation.get('policy_sha256')}",
        "return_mean": evaluation.get("return_mean"),
        "path": MODELS,
    }
    return "\n".join([tag, "", *(f"{name}: {value}" for name, value in lines.items())])


if __name__ == "__main__":
    main()

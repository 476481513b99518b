"""Publish this commit's model as a version: push it, prove that a fresh clone gets it, and only then tag it."""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from dvc.repo import Repo

from pipeline.experiment.errors import UserError, one_line
from pipeline.experiment.files import read_json
from pipeline.experiment.paths import EVALUATION, LOCK_FILE, MODELS
from tools.get import ARTIFACT
from tools.push import GIT_REMOTE, push
from tools.storage.outputs import WORKSPACE, objects
from tools.storage.store import open_stores
from tools.verification.fresh_clone import check_out

VERSION = re.compile(r"v\d+\.\d+\.\d+")


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
    if _git("tag", "--list", tag) or _git("ls-remote", "--tags", GIT_REMOTE, f"refs/tags/{tag}"):
        raise UserError(f"publish: there is a {tag} already; take the next version")
    if changes := _git("status", "--porcelain"):
        raise UserError(f"publish: there are changes that no commit has ({one_line(changes)}); commit them first")
    if stale := Repo().status():
        raise UserError(f"publish: {', '.join(stale)} is not up to date; `make repro`, and commit what it makes")


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
    """Tag HEAD, and push the tag with its commit; takes it back if that fails.

    Raises:
        UserError: If the Git remote does not take it.
    """
    _git("tag", "--annotate", tag, "--message", message(tag))
    try:
        _git("push", "--quiet", GIT_REMOTE, f"refs/tags/{tag}")
    except UserError:
        _git("tag", "--delete", tag)
        raise


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


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"publish: nothing is published: `git {arguments[0]}` failed: {one_line(done.stderr)}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()

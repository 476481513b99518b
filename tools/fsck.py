"""Read every object of this commit and of all tags, in the cache and in the remote, and repair one from the other."""

from __future__ import annotations

import argparse
import subprocess
import sys

from dvc.repo import Repo

from pipeline.experiment.errors import UserError
from tools.storage.outputs import WORKSPACE, Object, objects
from tools.storage.store import State, Store, open_stores
from tools.storage.workspace import clear

States = dict[str, State]


def main() -> None:
    """Exit with 1 if something stays broken.

    A repair has to be asked for: the remote is shared, one may only be able to read it, and what is damaged tells of a
    disk that fails.
    """
    parser = argparse.ArgumentParser(prog="make fsck", description=__doc__)
    parser.add_argument("revision", nargs="*", help="more to read: experiments, branches, commits")
    parser.add_argument("--repair", action="store_true", help="replace what is missing or damaged")
    arguments = parser.parse_args()
    repo, cache, remote = open_stores()
    found = find(repo, arguments.revision, cache, remote)
    if not found:
        raise UserError("no outputs are named by dvc.lock, here or in a tag; `make repro` makes them")
    broken = check(found, cache, remote)
    if broken and arguments.repair:
        clear(repo, cache)
        repair(found, cache, remote)
        print("after the repair:")
        broken, before = check(found, cache, remote), broken
        print(f"repaired: {before - broken} of {before}")
    total = len({each.digest for each in found})
    if broken:
        sys.exit(f"fsck: {broken} of {total} objects are broken; {_advice(arguments.repair)}")
    print(f"fsck: all {total} objects are whole")


def _advice(tried: bool) -> str:
    if not tried:
        return "`make fsck REPAIR=yes` repairs what can be, the cache from the remote and the remote from the cache"
    return "the machine that made them may have them: `make push` there; `make repro` makes those of the workspace"


def find(repo: Repo, revisions: list[str], cache: Store, remote: Store) -> list[Object]:
    """List the objects of the workspace, of all tags and of ``revisions``; a tag that DVC cannot read is named."""
    found = objects(repo, [WORKSPACE, *revisions], [cache, remote])
    tags = subprocess.run(["git", "tag"], capture_output=True, text=True, check=False).stdout.split()
    for tag in tags:
        try:
            found += objects(repo, [tag], [cache, remote])
        except UserError as error:
            print(f"left out: {error}")
    return found


def check(found: list[Object], cache: Store, remote: Store) -> int:
    """Print what is missing or damaged, and where; returns how many objects that are.

    What the remote has whole need not be in the cache, which has what was made here or asked for.
    """
    here, there = _states(found, cache, remote)
    broken = set()
    revisions: dict[tuple[str, str], dict[str, None]] = {}
    for each in found:
        revisions.setdefault((each.digest, each.path), {})[each.revision] = None
    for (digest, path), named_by in revisions.items():
        in_cache, in_remote = here[digest], there.get(digest)
        wrong = [(in_remote, remote.name)] if in_remote else []
        wrong += [(in_cache, cache.name)] if in_cache is State.DAMAGED or in_remote is not State.WHOLE else []
        for state, name in wrong:
            if state is not State.WHOLE:
                broken.add(digest)
                print(f"{state:8} in {name}: {path} of {', '.join(named_by)}")
    return len(broken)


def repair(found: list[Object], cache: Store, remote: Store) -> None:
    """Give each store what the other has whole, but the cache nothing that it merely lacks."""
    here, there = _states(found, cache, remote)
    cache.take([digest for digest, state in here.items() if state is State.DAMAGED], remote)
    lacking = [digest for digest, state in there.items() if state is not State.WHOLE]
    remote.take([digest for digest in lacking if here[digest] is State.WHOLE], cache)


def _states(found: list[Object], cache: Store, remote: Store) -> tuple[States, States]:
    digests = [each.digest for each in found]
    if not remote.exists:
        print(f"{remote.name} is a folder that this machine does not have: the cache alone is read")
    return cache.states(digests), remote.states(digests) if remote.exists else {}


if __name__ == "__main__":
    main()

"""Bring the outputs that dvc.lock names to the remote, and read them there, each byte compared: ``make push``."""

from __future__ import annotations

import argparse
import subprocess
import sys

from pipeline.experiment.errors import UserError
from tools.storage.outputs import WORKSPACE, Object, objects
from tools.storage.store import State, Store, open_stores
from tools.storage.workspace import clear

DVC = (sys.executable, "-m", "dvc")
GIT_REMOTE = "origin"


def main() -> None:
    """Exit with 1 and a sentence if the remote lacks anything in the end."""
    parser = argparse.ArgumentParser(prog="make push", description=__doc__)
    parser.add_argument("experiment", nargs="*", help="experiments to push too: their outputs, then their commits")
    experiments = parser.parse_args().experiment
    repo, cache, remote = open_stores()
    clear(repo, cache)
    found = objects(repo, [WORKSPACE, *experiments], [cache, remote])
    if not found:
        raise UserError("dvc.lock names no outputs, and nothing was pushed; `make repro` makes them")
    count = push(found, cache, remote)
    total = len({each.digest for each in found})
    print(f"{remote.name} has all objects ({total}), each byte compared; new there: {count}")
    if experiments:  # their commits come last, so that nobody has one without its outputs
        sys.exit(subprocess.run([*DVC, "exp", "push", GIT_REMOTE, *experiments], check=False).returncode)


def push(found: list[Object], cache: Store, remote: Store) -> int:
    """Copy what the remote has not whole from the cache; returns how many objects that took.

    Raises:
        UserError: If the cache has not all of them whole, or the remote does not give back what it was given.
    """
    paths = {each.digest: f"{each.path} of {each.revision}" for each in found}
    lacking = [digest for digest, state in remote.states(paths).items() if state is not State.WHOLE]
    states = cache.states(lacking)
    failed = [f"{paths[digest]} ({state})" for digest, state in states.items() if state is not State.WHOLE]
    remote.take(lacking, cache)
    if failed:
        raise UserError(
            f"the cache cannot give {', '.join(failed)}, and neither has {remote.name}; `make push`, where they "
            "were made, brings them there, and `make repro` makes those of the workspace"
        )
    lost = [paths[digest] for digest, state in remote.states(lacking).items() if state is not State.WHOLE]
    if lost:
        raise UserError(f"{remote.name} took {', '.join(lost)}, and gives other bytes back; ask who runs it")
    return len(lacking)


if __name__ == "__main__":
    main()

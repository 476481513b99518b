"""Bring the outputs that dvc.lock names into the workspace, each byte compared: ``make pull``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from pipeline.experiment.errors import UserError
from tools.storage.outputs import WORKSPACE, Object, objects, select
from tools.storage.store import State, Store, open_stores
from tools.storage.workspace import check_out, clear


def main() -> None:
    """Exit with 1 and a sentence if anything could not be brought; what could be is in the cache then."""
    parser = argparse.ArgumentParser(prog="make pull", description=__doc__)
    parser.add_argument("what", nargs="*", help="files, folders, artifacts or stages; without, all outputs")
    what = parser.parse_args().what
    repo, cache, remote = open_stores()
    clear(repo, cache)
    found = objects(repo, [WORKSPACE], [cache, remote])
    if not found:
        raise UserError("dvc.lock names no outputs; `make repro` makes them")
    wanted = select(found, what, repo) if what else found
    parts = {each.output for each in wanted}
    lists = [each for each in found if each.is_folder and each.output in parts]
    count = bring([*lists, *wanted], cache, remote)
    check_out(wanted, repo)
    files = sum(not each.is_folder for each in wanted)
    print(f"files: {files}, each byte as dvc.lock has it; objects that came from {remote.name}: {count}")


def bring(wanted: Iterable[Object], cache: Store, remote: Store) -> int:
    """Make the cache whole from the remote, and return how many objects that took.

    Raises:
        UserError: If the remote has not all of them.
    """
    paths = {each.digest: each.path for each in wanted}
    lacking = [digest for digest, state in cache.states(paths).items() if state is not State.WHOLE]
    if lacking and not remote.exists:
        raise UserError(
            f"this repository's models are not published: {remote.name} is a folder that this machine does not have; "
            "`make repro` makes them"
        )
    failed = {digest: state for digest, state in cache.take(lacking, remote).items() if state is not State.WHOLE}
    if failed:
        names = ", ".join(f"{paths[digest]} ({state})" for digest, state in failed.items())
        raise UserError(
            f"{remote.name} cannot give {names}; `make push`, where they were made, brings them there, and "
            "`make repro` makes them"
        )
    return len(lacking)


if __name__ == "__main__":
    main()

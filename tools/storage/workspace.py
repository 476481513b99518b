"""The files in the workspace, where DVC believes of a file of the same size and time that it is the same."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash import file_md5
from dvc_data.hashfile.transfer import transfer
from dvc_objects.fs.local import localfs

from pipeline.experiment.errors import UserError, one_line
from tools.storage.outputs import WORKSPACE, Object, objects
from tools.storage.store import State, Store


def clear(repo: Repo, cache: Store) -> None:
    """Remove what is damaged, and would pass for whole: from the cache, and from the workspace if the cache lacks it.

    What the workspace alone has whole goes into the cache. Else ``dvc repro`` would take all of it to be up to date.
    """
    found = objects(repo, [WORKSPACE], [cache])
    states = cache.states(each.digest for each in found)
    for digest, state in states.items():
        if state is State.DAMAGED:
            cache.objects.delete(digest)
    lacking = [each for each in found if states[each.digest] is not State.WHOLE]
    digests = {each.path: each.digest for each in found}
    for output in dict.fromkeys(each.output for each in lacking):
        _keep(output, digests[output], cache)
    _remove_damaged(lacking, repo)


def check_out(wanted: list[Object], repo: Repo) -> None:
    """Put files from the cache into the workspace.

    Raises:
        UserError: If a file there has changes that would be lost.
    """
    _remove_damaged(wanted, repo)
    whole = {each.path for each in wanted if each.path == each.output}
    try:
        repo.checkout(sorted({each.output if each.output in whole else each.path for each in wanted}))
    except DvcException as error:
        raise UserError(f"{one_line(error)}; `dvc checkout --force` replaces them by what was pulled") from None


def _keep(output: str, digest: str, cache: Store) -> None:
    """Copy an output into the cache if it is what ``digest`` says."""
    if Path(output).exists():
        nowhere = HashFileDB(localfs, os.devnull, read_only=True)  # without a database of what DVC believes
        staging, _, file = build(nowhere, str(Path(output).resolve()), localfs, "md5")
        if file.hash_info.value == digest:
            transfer(staging, cache.objects, {file.hash_info}, shallow=False)


def _remove_damaged(wanted: Iterable[Object], repo: Repo) -> None:
    for each in wanted:
        path = Path(each.path).resolve()
        if path.is_file():
            _, believed = repo.state.get(str(path), localfs)
            if believed and believed.value == each.digest and file_md5(str(path)) != each.digest:
                path.unlink()

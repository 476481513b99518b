"""The outputs that a revision's dvc.lock and .dvc files name, with the objects that they are made of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo

from pipeline.experiment.errors import UserError, did_you_mean, one_line
from tools.storage.store import Store

WORKSPACE = "workspace"  # what DVC calls the files here, committed or not


class Object(NamedTuple):
    """An object, and where it belongs."""

    digest: str  # of a folder, that of the list of its files, which is an object too
    path: str
    output: str  # what has an entry of its own: the file, or the folder that it is in
    stage: str
    revision: str

    @property
    def is_folder(self) -> bool:
        """True if it is the list of a folder's files."""
        return self.digest.endswith(".dir")


def objects(repo: Repo, revisions: Iterable[str], stores: Iterable[Store]) -> list[Object]:
    """List the objects of ``revisions``; those of a folder from the first of ``stores`` that has its list whole.

    What is imported from another repository is left out: it is kept there.
    """
    outputs = [output for revision in revisions for output in _outputs(repo, revision)]
    lists = {output.digest: files_in(output.digest, stores) for output in outputs if output.is_folder}
    files = [
        output._replace(path=f"{output.path}/{name}", digest=digest)
        for output in outputs
        for name, digest in lists.get(output.digest, [])
    ]
    return outputs + files


def _outputs(repo: Repo, revision: str) -> list[Object]:
    try:
        with repo.switch(revision):
            return [
                Object(str(out.hash_info.value), path, path, out.stage.addressing, revision)
                for out in repo.index.outs
                if out.use_cache and out.hash_info and not out.stage.is_repo_import
                for path in [repo.fs.relpath(out.fs_path, repo.root_dir)]
            ]
    except DvcException as error:
        hint = "`git diff HEAD dvc.yaml dvc.lock`" if revision == WORKSPACE else "`git log` and `make experiments`"
        raise UserError(f"DVC cannot read {revision}: {one_line(error)}; see {hint}") from None


def files_in(digest: str, stores: Iterable[Store]) -> list[tuple[str, str]]:
    """Read the list of a folder's files, with the digest of each, from the first of ``stores`` that has it whole."""
    for store in stores:
        if content := store.content(digest):
            return [(file["relpath"], file["md5"]) for file in json.loads(content)]
    return []


def select(found: list[Object], names: Iterable[str], repo: Repo) -> list[Object]:
    """Pick what people call by name: a file, a folder, an artifact of dvc.yaml, or a stage.

    Raises:
        UserError: If nothing is called so.
    """
    artifacts = {name: one.path for file in repo.artifacts.read().values() for name, one in file.items()}
    chosen: dict[Object, None] = {}
    for name in names:
        path = os.path.relpath(artifacts.get(name, name))
        here = [each for each in found if each.stage == path or f"{each.path}/".startswith(f"{path}/")]
        if not here:
            known = {*artifacts, *(part for each in found for part in (each.path, each.stage, each.path.split("/")[0]))}
            raise UserError(f"DVC keeps no output {name} (metrics are in Git); {did_you_mean(name, sorted(known))}")
        chosen |= dict.fromkeys(here)
    return list(chosen)

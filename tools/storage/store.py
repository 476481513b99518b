"""DVC's cache and remotes as stores of objects, each under the MD5 of its content; every byte is read and compared.

DVC itself believes that an object is what its name says once it is write-protected, or once it has been pushed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash import file_md5
from dvc_objects.fs.local import LocalFileSystem

from pipeline.experiment.errors import UserError, one_line
from tools.storage.faults import explained
from tools.storage.patience import Patience

Result = TypeVar("Result")

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"  # the MD5 of nothing
PROBE = 10.0  # seconds


class State(StrEnum):
    """What a store has of an object."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    MISSING = "missing"


class Store:
    """A cache or a remote of DVC.

    Args:
        objects: Where DVC keeps its objects.
        name: What a sentence calls it.
    """

    def __init__(self, objects: HashFileDB, name: str) -> None:
        self.objects = objects
        self.name = name

    @property
    def exists(self) -> bool:
        """False if it is a folder that this machine does not have."""
        return not isinstance(self.objects.fs, LocalFileSystem) or Path(self.objects.path).parents[1].exists()

    def states(self, digests: Iterable[str]) -> dict[str, State]:
        """Read objects, and tell which are whole."""
        with tempfile.TemporaryDirectory() as folder:
            return self._each(lambda digest, patience: self._read(digest, folder, patience)[0], digests)

    def content(self, digest: str) -> bytes | None:
        """Read an object; None if it is not whole."""
        with tempfile.TemporaryDirectory() as folder:
            read = self._each(lambda each, patience: self._read(each, folder, patience, keep=True), [digest])
            state, path = read[digest]
            return path.read_bytes() if state is State.WHOLE else None

    def take(self, digests: Iterable[str], source: Store) -> dict[str, State]:
        """Copy objects from ``source``, but for those that it has not whole; returns what it had of each.

        The lists of folders come last, and only if nothing failed: where DVC finds a list, it takes the files to be
        there.
        """

        def copy(digest: str, patience: Patience) -> State:
            with explained(source.name):
                state, path = source._read(digest, folder, patience, keep=True)
            if state is State.WHOLE:
                patience.extend(path.stat().st_size)
                target = self.objects.oid_to_path(digest)
                self.objects.makedirs(self.objects.fs.parent(target))  # for the group, if it is a shared folder
                self.objects.fs.put_file(str(path), target, callback=patience)
                self.objects.protect(target)  # as DVC has its objects
                path.unlink()
            return state

        digests = list(digests)
        lists = [digest for digest in digests if digest.endswith(".dir")]
        slower = source if isinstance(self.objects.fs, LocalFileSystem) else self
        with tempfile.TemporaryDirectory() as folder:
            states = self._each(copy, [digest for digest in digests if digest not in lists], slower)
            if all(state is State.WHOLE for state in states.values()):
                states |= self._each(copy, lists, slower)
        return states

    def probe(self) -> None:
        """Write an object of no bytes, which is one like all others, and read it.

        Raises:
            UserError: If the store does not allow that, or fails.
        """
        with tempfile.TemporaryDirectory() as folder, explained(self.name), Patience(self.name, PROBE) as patience:
            path = Path(folder) / EMPTY
            path.touch()
            self.objects.fs.put_file(str(path), self.objects.oid_to_path(EMPTY), callback=patience)
            if self._read(EMPTY, folder, patience)[0] is not State.WHOLE:
                raise UserError(f"{self.name} does not give back what was written there")

    def _read(self, digest: str, folder: str, patience: Patience, keep: bool = False) -> tuple[State, Path]:
        path = Path(folder) / digest
        try:
            self.objects.fs.get_file(self.objects.oid_to_path(digest), str(path), callback=patience)
        except FileNotFoundError:
            return State.MISSING, path
        whole = file_md5(str(path)) == digest.removesuffix(".dir")
        if not (whole and keep):
            path.unlink()
        return State.WHOLE if whole else State.DAMAGED, path

    def _each(
        self, function: Callable[[str, Patience], Result], digests: Iterable[str], slower: Store | None = None
    ) -> dict[str, Result]:
        """Call ``function`` for each object, some at a time; if nothing moves, it is ``slower`` that is waited for.

        Raises:
            UserError: If the store fails.
        """
        digests = list(dict.fromkeys(digests))
        with explained(self.name), Patience((slower or self).name) as patience:
            pool = ThreadPoolExecutor(self.objects.fs.jobs)
            try:
                return dict(zip(digests, pool.map(lambda digest: function(digest, patience), digests), strict=True))
            finally:
                pool.shutdown(cancel_futures=True)


def open_stores(repo: Repo | None = None) -> tuple[Repo, Store, Store]:
    """Open a repository, or this one, with its cache and its default remote.

    Raises:
        UserError: If DVC cannot, or there is no remote.
    """
    try:
        repo = repo or Repo()
        remote = repo.cloud.get_remote()
    except DvcException as error:
        raise UserError(f"{one_line(error)}; docs/storage.md says how a remote is set") from None
    if remote.fs.protocol == "ssh":
        remote.fs.fs_args["known_hosts"] = ()  # those of ~/.ssh/known_hosts, where DVC takes any host for the right one
        for key in remote.fs.fs_args.get("client_keys", []):
            if not Path(key).is_file():  # what is not found would be taken for an object
                raise UserError(f"there is no key {key}; `dvc remote modify --local {remote.name} keyfile` names one")
    url = repo.config["remote"][remote.name]["url"]
    return repo, Store(repo.cache.local, "the cache"), Store(remote.odb, f"the remote {remote.name} ({url})")

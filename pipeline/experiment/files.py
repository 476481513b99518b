"""Files that appear whole or not at all, and hold the same bytes for the same content."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.experiment.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the ways in which writing ``path`` can fail into one sentence.

    Raises:
        UserError: For an OSError, but for a lock that is held too long.
    """
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        remedy = "make room" if error.errno in DISK_FULL else "mend that"
        raise UserError(f"{path} cannot be written: {error.strerror}; {remedy}, and run the same again") from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that nobody, not even after a crash, sees half of it under its name.

    Folders are made as needed. A link, as DVC may leave one into its cache, is replaced and not written through.

    Raises:
        UserError: If it cannot be written, because the disk is full for one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def to_json(content: Mapping[str, Any]) -> bytes:
    """Encode as JSON with sorted keys and exact floats, one value a line.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    return (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def read_text(path: Path) -> str:
    """Read a text file; an empty text if there is none. Bytes that are no text are replaced."""
    return path.read_text(errors="replace") if path.exists() else ""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; an empty dictionary if there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as :func:`to_json` encodes it."""
    write_atomically(path, to_json(content))


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values as YAML with sorted keys."""
    write_atomically(path, yaml.dump(content, Dumper=_PlainDumper, sort_keys=True, width=120).encode())


class _PlainDumper(yaml.SafeDumper):
    """Writes a value out wherever it occurs: anchors would tell which equal values happen to be one object."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

"""Digests of a folder's files, in the form that ``sha256sum -c`` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

SUMS = "SHA256SUMS"


def checksums(folder: Path) -> bytes:
    """List the SHA-256 of every file in ``folder``, but for the list itself and hidden files such as .gitignore."""
    names = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    listed = sorted(str(name) for name in names if str(name) != SUMS and not name.name.startswith("."))
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in listed).encode()

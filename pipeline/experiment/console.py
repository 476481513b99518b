"""If nobody reads the output any more, or the disk is full, the text is lost, and the training goes on."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


class Console(io.FileIO):
    """A stream that drops what it cannot write: the disk is full, or the reader of the pipe has gone away."""

    def write(self, data: Any, /) -> int:
        """Write what can be written, and say that it was all."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written  # None: a reader who does not keep up


def keep_open() -> None:
    """Open standard input, output and error where they are closed, so that a write to them does not end the process.

    The simulator would take a closed one's number for a file of its own, and crash.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is getattr(sys, f"__{name}__"):  # else somebody reads it, as pytest does
            buffer = io.BufferedWriter(Console(number, "w", closefd=False))
            setattr(sys, name, io.TextIOWrapper(buffer, errors="backslashreplace", line_buffering=True))

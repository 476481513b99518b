"""A time limit for what waits for a server, for ever if need be, in threads that nothing else can end."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, Self

from fsspec.callbacks import Callback

PATIENCE = 30.0  # seconds in which not a byte came or went
SLOWEST = 50_000  # bytes a second: S3 tells of an upload only when it is complete


class Patience(Callback):
    """Ends this process with one sentence if nothing moves for too long. What it was doing can be done again.

    Args:
        name: Who is being waited for.
        seconds: How long.
    """

    def __init__(self, name: str, seconds: float | None = None) -> None:
        super().__init__()
        self._name, self._seconds = name, seconds or PATIENCE
        self._moved, self._over = threading.Event(), False

    def __enter__(self) -> Self:
        """Begin to wait."""
        threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait no longer."""
        self._over = True
        self._moved.set()

    def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
        """Note that bytes have moved, as fsspec tells."""
        self._moved.set()

    def extend(self, size: int) -> None:
        """Allow for an upload of ``size`` bytes."""
        self._seconds = max(self._seconds, PATIENCE + size / SLOWEST)
        self._moved.set()

    def _wait(self) -> None:
        while self._moved.wait(self._seconds):
            if self._over:
                return
            self._moved.clear()
        sys.stdout.flush()
        print(
            f"{self._name} has not answered for {self._seconds:.0f} seconds; run the same again, which goes on where "
            "it stopped",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

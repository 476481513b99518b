"""Ctrl-C and SIGTERM, which end a stage even where Python swallows the exception."""

from __future__ import annotations

import signal
from types import FrameType

_signals: list[int] = []


def listen() -> None:
    """Let SIGTERM raise KeyboardInterrupt as Ctrl-C does, and remember that either came."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell has it ignored, in the background
        signal.signal(signal.SIGINT, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt again if one came and was lost.

    It is when the signal arrives in a finaliser, and every array of Warp's has one.
    """
    if _signals:
        raise KeyboardInterrupt


def ignore() -> None:
    """Let what must be finished now be finished, whatever else arrives; a stage that DVC leaves may get two signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _signals.append(signum)
    raise KeyboardInterrupt

"""Ctrl-C, SIGTERM and SIGHUP, which end a stage even if Python swallows the exception, or a library waits for ever."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import signal
from collections.abc import Iterator
from types import FrameType

PATIENCE = 20.0  # seconds that a stage has to end, once it is asked to

_signals: list[int] = []
_deferred = False


def listen() -> None:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt as Ctrl-C does, and remember that one came."""
    signal.signal(signal.SIGTERM, _interrupt)
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has Ctrl-C in the background, and nohup SIGHUP
            signal.signal(number, _interrupt)


def end_with_parent() -> None:
    """Let Linux send SIGTERM to this process when the one that started it ends, however it does."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def check() -> None:
    """Raise KeyboardInterrupt if a signal was deferred, or if its KeyboardInterrupt was lost.

    It is when the signal arrives in a finaliser, and every array of Warp's has one.
    """
    if _signals:
        raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait for the next :func:`check`, at the latest the one at the end of the block.

    What is raised at any moment can be raised in the middle of a lock's or a queue's own code: one stop in a hundred
    left TensorBoard's writer asleep, and the stage waiting for it. Once a signal has come, those after it raise
    nothing, so that what must be finished after the block is.
    """
    global _deferred
    _deferred = True
    try:
        yield
        check()
    finally:
        _deferred = bool(_signals)


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    _signals.append(signum)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)  # by a thread of its own, whatever Python waits for
    if not _deferred:
        raise KeyboardInterrupt

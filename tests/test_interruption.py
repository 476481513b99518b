"""A signal that Python swallows is not lost."""

from __future__ import annotations

import os
import signal

import pytest

from pipeline import interruption

pytestmark = pytest.mark.unit


class Finalised:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_arrives_in_a_finaliser_is_raised_by_the_next_check(monkeypatch):
    monkeypatch.setattr(interruption, "_signals", [])
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        interruption.listen()
        interruption.check()
        Finalised()  # Python prints "Exception ignored", and goes on
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])

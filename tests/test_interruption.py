"""A signal is neither lost nor able to do harm, and a stage that is asked to end does."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.experiment import interruption

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interruption, "_signals", [])
    monkeypatch.setattr(interruption, "_deferred", False)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored, in the background
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this one
    interruption.listen()
    yield
    faulthandler.cancel_dump_traceback_later()  # else it would end the tests
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


class Finalised:
    def __del__(self) -> None:
        send()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_arrives_in_a_finaliser_is_raised_by_the_next_check():
    interruption.check()
    Finalised()  # Python prints "Exception ignored", and goes on
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_deferred_signal_is_raised_by_the_next_check_and_not_before(number):
    done = []

    def learn() -> None:
        with interruption.deferred():
            send(number)
            done.append("what a library was doing")
            interruption.check()
            done.append("the next step")

    with pytest.raises(KeyboardInterrupt):
        learn()
    assert done == ["what a library was doing"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_a_shell_or_nohup_has_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    interruption.listen()
    send(number)
    interruption.check()


def test_a_deferred_signal_is_raised_at_the_end_at_the_latest_and_nothing_raises_after_it():
    with pytest.raises(KeyboardInterrupt), interruption.deferred():
        send()
    send()


def test_without_a_signal_nothing_is_deferred_for_longer_than_the_block():
    with interruption.deferred():
        pass
    with pytest.raises(KeyboardInterrupt):
        send()


def test_a_stage_that_is_asked_to_end_and_waits_for_ever_is_ended_and_says_where_it_waited():
    script = """
import os, signal, threading
from pipeline.experiment import interruption
interruption.PATIENCE = 0.5
interruption.listen()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    threading.Event().wait()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "in wait" in ended.stderr

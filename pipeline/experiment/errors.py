"""Errors that a person can mend, as one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 2000  # characters of a sentence: it may quote a value that is a whole file


class UserError(SystemExit):
    """One sentence that names what is wrong and what to do, without its middle if it is very long.

    A SystemExit, because Isaac Lab prints a traceback for any other error that passes through the running simulator.
    """

    def __init__(self, sentence: str) -> None:
        half = LONGEST // 2
        super().__init__(
            one_line(sentence if len(sentence) <= LONGEST else f"{sentence[:half]} [...] {sentence[-half:]}")
        )


def one_line(message: object) -> str:
    """Join the lines of ``message``, such as an exception, for use within a sentence."""
    return " ".join(str(message).split())


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """Suggest the names of ``allowed`` nearest to ``given``, as the end of a sentence; list all if none is near."""
    allowed = list(allowed)
    near = difflib.get_close_matches(str(given), allowed, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(allowed) or 'none'}"

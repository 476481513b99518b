"""What a person runs through ``make``. Ctrl-C, and a reader that goes away (``| head``), end it without a traceback."""

import sys


def _without_traceback(kind: type[BaseException], error: BaseException, traceback: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    elif not issubclass(kind, BrokenPipeError):
        sys.__excepthook__(kind, error, traceback)  # type: ignore[arg-type]


sys.excepthook = _without_traceback

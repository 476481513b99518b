"""What can be wrong with a policy and its files, as one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError

from pipeline.experiment.errors import UserError
from pipeline.experiment.paths import MODELS
from pipeline.policy.schema import first_finding


class PolicyError(UserError):
    """A policy cannot be written, read or used."""


def read_file(path: Path) -> bytes:
    """Read a file; raises ValueError if it is a folder or a pipe."""
    if path.exists() and not path.is_file():  # to read a FIFO would wait for ever
        raise ValueError("should be a file")
    return path.read_bytes()


@contextlib.contextmanager
def explained(what: Path | str, remedy: str | None = None) -> Iterator[None]:
    """Turn the ways in which reading or checking ``what`` can fail into a PolicyError of one sentence."""
    of_training = Path(what).is_relative_to(MODELS)
    remedy = remedy or ("run `make pull` or `dvc repro train`" if of_training else "fetch the policy again")
    try:
        yield
    except ValidationError as error:
        raise PolicyError(f"{what}: {first_finding(error)}; {remedy}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise PolicyError(f"{what} is missing; {remedy}") from None
    except OSError as error:
        raise PolicyError(f"{what} cannot be read: {error.strerror}; {remedy}") from None
    except RecursionError:
        raise PolicyError(f"{what}: is nested too deeply; {remedy}") from None
    except (OverflowError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise PolicyError(f"{what}: {error}; {remedy}") from None

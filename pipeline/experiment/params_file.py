"""Reading params.yaml and dvc.yaml, with one sentence for the first thing wrong.

This imports neither torch nor the simulator, so that a typing error costs a second and not a start-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.params import Params
from pipeline.experiment.paths import PARAMS_FILE

LARGEST = 100_000  # bytes of a file that YAML reads in seconds


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check the params.

    Raises:
        UserError: One sentence for the first thing wrong: the key's path, what was given, what is allowed.
    """
    try:
        return Params.model_validate(read_sections(path))
    except ValidationError as error:
        raise UserError(f"{path}: {_sentence(error)}") from None


def read_sections(path: Path) -> dict[str, Any]:
    """Read params.yaml or dvc.yaml as DVC does (YAML 1.2), so that both see the same values.

    Raises:
        UserError: If the file is missing, cannot be read, is no YAML, or has no sections.
    """
    return parse_sections(_text(path), path)


def parse_sections(text: str, path: Path) -> dict[str, Any]:
    """Parse ``text`` as :func:`read_sections` does; ``path`` is for the sentence."""
    try:
        content = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:  # a date that is none, a number of 5,000 digits
        raise UserError(f"{path} is not valid YAML: {_problem(error)}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; run `git checkout {path}`") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} has no sections; run `git checkout {path}`")
    return content


def flat(section: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """List what is in a section by dotted paths; an empty section counts as a value."""
    for name, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{parent}{name}.")
        else:
            yield f"{parent}{name}", value


def _problem(error: Exception) -> str:
    """Say what is wrong, and in which line, without ruamel's words for programmers."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    return f"{problem}, in line {mark.line + 1}" if problem and mark else str(error)


def _text(path: Path) -> str:
    try:
        if not path.is_file() and path.exists():  # reading a FIFO would take for ever
            raise UserError(f"{path} is not a file; move it away, and run `git checkout {path}`")
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST:,} bytes; run `git checkout {path}`")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage in the project's folder, through `dvc repro`") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _sentence(error: ValidationError) -> str:
    """Say one of pydantic's findings: an unknown key, which may be why another is missing, or the first."""
    findings = error.errors(include_url=False)
    finding = next((finding for finding in findings if finding["type"] == "extra_forbidden"), findings[0])
    path = ".".join(str(part) for part in finding["loc"] if part not in ("float", "str"))
    if finding["type"] == "missing":
        return f"{path} is missing; add it, or run `git checkout params.yaml`"
    if finding["type"] == "extra_forbidden":
        return f"{path} is not a parameter; {did_you_mean(finding['loc'][-1], _siblings(finding['loc']))}"
    message = finding["msg"].removeprefix("Value error, ")
    if isinstance(finding["input"], dict):
        return f"{path} {message}".strip()
    return f"{path}: {message[0].lower()}{message[1:]} (given: {finding['input']!r})"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """List the keys that are allowed where the unknown key at ``location`` stands."""
    section: Any = Params
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    return list(section.model_fields)

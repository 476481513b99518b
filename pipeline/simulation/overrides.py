"""Setting fields of the task's configuration by their dotted paths, as the params' section ``env`` has them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from isaaclab.utils.string import string_to_callable

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.paths import ASSETS

USD = (".usd", ".usda", ".usdc", ".usdz")


def override(cfg: Any, path: str, value: Any, *, parent: str = "env") -> None:
    """Set one field of a configuration.

    Args:
        cfg: The configuration, or a dictionary within it.
        path: The field, with dots between the levels.
        value: Its new value; a mapping sets the fields below one by one.
        parent: Where ``cfg`` stands, for messages.

    Raises:
        UserError: If there is no such field, the value is of another kind than the field's, or a file that nothing
            tracks.
    """
    fields = cfg if isinstance(cfg, Mapping) else vars(cfg)
    name = path if path in fields else path.partition(".")[0]
    if name not in fields:
        raise UserError(f"{parent}.{path}: the task's configuration has no such field; {did_you_mean(name, fields)}")
    old, below, here = fields[name], path[len(name) + 1 :], f"{parent}.{name}"
    if below and _has_fields(old):
        override(old, below, value, parent=here)
    elif not below and isinstance(value, Mapping) and _has_fields(old):
        for key, item in value.items():
            override(old, str(key), item, parent=here)
    elif below or not _of_a_kind(_annotation(cfg, name), old, value):
        raise UserError(f"{parent}.{path} is {_describe(old)} in the task's configuration (given: {value!r})")
    else:
        if isinstance(value, str):
            check = _check_function if callable(old) else _check_file
            check(f"{parent}.{path}", value)
        value = tuple(value) if isinstance(old, tuple) else value  # YAML has lists alone
        cfg.__setitem__(name, value) if isinstance(cfg, dict) else setattr(cfg, name, value)


def _has_fields(value: Any) -> bool:
    return isinstance(value, Mapping) or is_dataclass(value)


def _annotation(cfg: Any, name: str) -> str:
    """Read the annotation of a field, as Isaac Lab's source has it; an empty text for a key of a dictionary."""
    annotated = [vars(kind).get("__annotations__", {}) for kind in type(cfg).__mro__]
    return next((str(annotations[name]) for annotations in annotated if name in annotations), "")


def _of_a_kind(annotation: str, old: Any, new: Any) -> bool:
    """Tell whether ``new`` may replace ``old``. Null may replace a section, to switch it off; NaN nothing."""
    if any(item != item for item in (new if isinstance(new, list | tuple) else [new])):
        return False
    if isinstance(new, Mapping) or (new is None and not _has_fields(old)):
        return not annotation or ("None" if new is None else "dict") in annotation
    if old is None or new is None:
        return True
    if callable(old):
        return isinstance(new, str)
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    kinds = (int if annotation == "int" else (int, float), (list, tuple), str)
    return not _has_fields(old) and all(isinstance(new, kind) for kind in kinds if isinstance(old, kind))


def _check_function(path: str, value: str) -> None:
    """Refuse what is no function, and one that is not in an installed package: DVC would not see a change of it."""
    try:
        file = str(importlib.import_module(string_to_callable(value).__module__).__file__)
    except (AttributeError, ImportError, ValueError):
        raise UserError(f"{path} should be a function, as package.module:function (given: {value!r})") from None
    if Path(file).is_relative_to(Path.cwd()) and "site-packages" not in file:
        raise UserError(f"{path}: DVC would not see a change of {value}; take a function of an installed package")


def _check_file(path: str, value: str) -> None:
    """Refuse a file that DVC would not see a change of."""
    exists = Path(value).is_file()
    absolute = Path(os.path.abspath(value))  # noqa: PTH100  (`resolve` would follow a link out of assets/)
    is_asset = exists and absolute.is_relative_to(ASSETS.absolute())
    if not is_asset and (exists or (Path(value).suffix in USD and "://" not in value)):
        raise UserError(f"{path}: DVC would not see a change of {value}; put the file into {ASSETS}/")


def _describe(value: Any) -> str:
    if _has_fields(value):
        return "a section"
    return f"{value!r}, {'without fields' if value is None else f'of type {type(value).__name__}'}"

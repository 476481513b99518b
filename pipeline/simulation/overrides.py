"""Setting fields of the task's configuration by their dotted paths, as the params' section ``env`` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from isaaclab.managers import ManagerTermBaseCfg
from isaaclab.utils.string import ResolvableString

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.params_file import flat
from pipeline.simulation.terms import add_params, new_term, takes_terms
from pipeline.simulation.tracked import check_file, find_function


def override_all(cfg: Any, env: Mapping[str, Any]) -> None:
    """Set the fields of a configuration that ``env``, the params' section, names.

    Raises:
        UserError: If :func:`override` refuses one, or a field is set twice: by its path, and within a section.
    """
    for name in _names(env):
        if not isinstance(name, str):
            raise UserError(f"env: {name!r} should be the name of a field, which is text")
    seen: set[str] = set()
    for path, _ in flat(env):
        above = {path[:end] for end, letter in enumerate(path) if letter == "."}
        if twice := seen & {path, *above} or {other for other in seen if other.startswith(f"{path}.")}:
            raise UserError(f"env: {min(twice)} is set twice, and one would win without a word; leave one of them out")
        seen.add(path)
    for path, value in env.items():
        override(cfg, path, value)


def _names(value: Any) -> Iterator[Any]:
    """List the names of all fields in nested mappings and lists."""
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _names(item)
    yield from value if isinstance(value, Mapping) else ()


def override(cfg: Any, path: str, value: Any, *, parent: str = "env") -> None:
    """Set one field of a configuration.

    Args:
        cfg: The configuration, or a dictionary within it.
        path: The field, with dots between the levels. Items of a list go by their number, from 0.
        value: Its new value; a mapping sets the fields below one by one.
        parent: Where ``cfg`` stands, for messages.

    Raises:
        UserError: If there is no such field, the value is of another kind than the field's, or a file that nothing
            tracks.
    """
    fields = cfg if isinstance(cfg, Mapping) else vars(cfg)
    name = path if path in fields else path.partition(".")[0]
    below, here = path[len(name) + 1 :], f"{parent}.{name}"
    if name not in fields:
        value = _add_term(cfg, path, value, parent)
    old = (cfg if isinstance(cfg, Mapping) else vars(cfg))[name]
    changes = {below: value} if below else value
    if isinstance(changes, Mapping) and (_has_fields(old) or isinstance(old, list | tuple)):
        if isinstance(cfg, ManagerTermBaseCfg) and name == "params":
            add_params(cfg, changes, here)
        _set(cfg, name, _changed(old, changes, here))
    elif below or not _of_a_kind(_annotation(cfg, name), old, value):
        raise UserError(f"{parent}.{path} is {_describe(old)} in the task's configuration (given: {value!r})")
    else:
        _set(cfg, name, _converted(f"{parent}.{path}", old, value))


def _add_term(cfg: Any, path: str, value: Any, parent: str) -> Any:
    """Add the term that ``path`` names, in a section that takes terms; return what is left to set of it."""
    if "." in path or not takes_terms(parent):
        fields, name = cfg if isinstance(cfg, Mapping) else vars(cfg), path.partition(".")[0]
        raise UserError(f"{parent}.{path}: the task's configuration has no such field; {did_you_mean(name, fields)}")
    setattr(cfg, path, new_term(parent, path, value, vars(cfg)))
    return {key: item for key, item in value.items() if key != "func"}


def _changed(old: Any, changes: Mapping[str, Any], here: str) -> Any:
    """Make the changes in a section, or in a list by the numbers of its items; an empty dictionary takes any keys."""
    if old == {}:
        return dict(changes)
    items = {str(number): item for number, item in enumerate(old)} if isinstance(old, list | tuple) else old
    for key, item in changes.items():
        override(items, str(key), item, parent=here)
    if not isinstance(old, list | tuple):
        return old
    new = type(old)(items.values())
    _check_bounds(here, old, new)
    return new


def _set(cfg: Any, name: str, value: Any) -> None:
    cfg.__setitem__(name, value) if isinstance(cfg, dict) else setattr(cfg, name, value)


def _converted(path: str, old: Any, value: Any) -> Any:
    """Convert a value to what Isaac Lab has there: a function for its name, a tuple for YAML's list."""
    if isinstance(value, str) and callable(old):
        function = find_function(path, value)
        return type(old)(value) if isinstance(old, ResolvableString) else function
    for item in value if isinstance(value, list | tuple) else (value,):
        if isinstance(item, str):
            check_file(path, item)
    _check_bounds(path, old, value)
    return tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value


def _check_bounds(path: str, old: Any, new: Any) -> None:
    if _is_range(old) and _is_number_pair(new) and new[0] > new[1]:
        raise UserError(f"{path} should begin with the lower bound (given: {new!r})")


def _is_range(value: Any) -> bool:
    return _is_number_pair(value) and value[0] <= value[1]


def _is_number_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(item, int | float) for item in value)


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
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return _items_of_a_kind(old, new)
    if isinstance(old, bool) or isinstance(new, bool):
        return isinstance(old, bool) and isinstance(new, bool)
    kinds = (int if annotation == "int" else (int, float), (list, tuple), str)
    return not _has_fields(old) and all(isinstance(new, kind) for kind in kinds if isinstance(old, kind))


def _items_of_a_kind(old: list | tuple, new: list | tuple) -> bool:
    """Tell whether a tuple has as many items, each of its kind, and whether a list's are of the kind of its first."""
    if isinstance(old, tuple) and old:
        return len(new) == len(old) and all(_of_a_kind("item", *pair) for pair in zip(old, new, strict=True))
    return all(_of_a_kind("item", old[0], item) for item in new) if old else True


def _describe(value: Any) -> str:
    if _has_fields(value):
        return "a section"
    return f"{value!r}, {'without fields' if value is None else f'of type {type(value).__name__}'}"

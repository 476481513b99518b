"""Whether DVC would see a change of the code and the files that an experiment is made of.

It sees those of assets/, of the project in tasks/ that sim.project names, and of the packages that requirements.txt
pins.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import isaaclab
from pxr import UsdUtils

from pipeline.experiment.errors import UserError
from pipeline.experiment.paths import ASSETS, LOCKED_PACKAGES, TASKS

USD = (".usd", ".usda", ".usdc", ".usdz")
PLACES = f"{ASSETS}/ or your project's src/"
FUNCTION = re.compile(r"([a-zA-Z_]\w*)(?:\.\w+)*:\w+")
INSTALLED = Path(isaaclab.__file__).parents[1]  # where the packages lie; .venv may be a link


def find_function(path: str, value: Any) -> Callable:
    """Import the function, or the class, that a field names.

    Args:
        path: The field, for messages.
        value: ``package.module:function``.

    Raises:
        UserError: If it is no function of a package that is tracked.
    """
    if not isinstance(value, str) or not FUNCTION.fullmatch(value):
        raise UserError(f"{path} should be a function, as package.module:function (given: {value!r})")
    module, _, name = value.partition(":")
    try:
        function = getattr(import_tracked(path, module), name)
    except (AttributeError, ImportError) as error:
        raise UserError(f"{path}: {value} cannot be imported: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise UserError(f"{path} should be a function, and {value} is none")
    return function


def import_tracked(param: str, module: str) -> ModuleType:
    """Import a module for ``param``, once it is known that its package is tracked: no other code runs.

    Raises:
        UserError: If it is not, or the import fails.
    """
    if not is_tracked(module.partition(".")[0]):
        raise UserError(
            f"{param}: DVC would not see a change of {module}; take a package in {LOCKED_PACKAGES}, or put the code "
            f"into a project in {TASKS}/ and name that in sim.project"
        )
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}{place_of(error)}"
        raise UserError(f"{param}: {module} cannot be imported: {reason}") from None


def place_of(error: BaseException) -> str:
    """Name the line of the project that an error comes from, as the end of a sentence; nothing if it is none of it."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
    own = [(file, line) for file, line in frames if _is_within(own_sources(), Path(file))]
    return f", in {os.path.relpath(own[-1][0])}, line {own[-1][1]}" if own else ""


def is_tracked(package: str) -> bool:
    """Tell whether DVC would see a change of a package. Looking for it does not import it."""
    try:
        spec = util.find_spec(package)
    except ValueError:  # `__main__`
        return False
    folders = (spec.submodule_search_locations or ()) if spec else ()
    # Of a package, any file in each of its folders: the folder may be a link.
    files = [Path(folder) / "any" for folder in folders] or [Path(spec.origin or "any")] if spec else []
    return bool(files) and all(_is_within(own_sources(), file) or _is_installed(file) for file in files)


def own_sources() -> list[Path]:
    """Return the folder of the named project's code, if its tasks are registered."""
    return [Path(path) for path in sys.path if Path(path).is_relative_to(TASKS.resolve())]


def _is_within(folders: Iterable[Path], file: Path) -> bool:
    """Tell whether a file lies in one of the folders. DVC follows links to files, as to its cache, not to folders."""
    return any(_place(file).is_relative_to(folder.resolve()) for folder in folders)


def _place(file: Path) -> Path:
    return file.absolute().parent.resolve() / file.name


def _is_installed(file: Path) -> bool:
    """Tell whether a file is of a package in .venv that requirements.txt pins."""
    if not _is_within([INSTALLED], file):
        return False
    package = _place(file).relative_to(INSTALLED.resolve()).parts[0].partition(".")[0]
    return package in _packages(LOCKED_PACKAGES.read_text())


@functools.cache
def _packages(locked: str) -> set[str]:
    """Name what the distributions in ``locked``, the text of requirements.txt, have installed."""
    pins = {line.partition("==")[0] for line in locked.splitlines() if "==" in line}
    records = INSTALLED.glob("*.dist-info/RECORD")  # what `importlib.metadata` takes seconds to find out
    ours = [record for record in records if _distribution(record) in pins]
    lines = [line for record in ours for line in record.read_text().splitlines()]
    return {line.partition("/")[0].partition(".")[0] for line in lines}


def _distribution(record: Path) -> str:
    return record.parent.name.partition("-")[0].lower().replace("_", "-")


def check_file(path: str, value: str) -> None:
    """Refuse a file that is not tracked; what is no file, nor looks like one, is left alone."""
    looks_like_one = value.lower().startswith("file:") or (Path(value).suffix in USD and "://" not in value)
    is_file = _is_file(value)
    if looks_like_one and not is_file:
        raise UserError(f"{path}: there is no file {value}; give the path of one in {PLACES}")
    if is_file and not _is_tracked(Path(value)):
        raise UserError(f"{path}: DVC would not see a change of {value}; put the file into {PLACES}")


def check_assets() -> None:
    """Refuse what DVC cannot copy into an experiment, and USD files that read others which are not tracked.

    Raises:
        UserError: If there is such a thing, or a USD file that cannot be read.
    """
    for folder in (ASSETS, *[source.parent for source in own_sources()]):
        if inner := next(folder.rglob(".git"), None):
            raise UserError(
                f"{os.path.relpath(inner)} makes a repository within this one, on which `dvc exp run` fails; remove "
                "it, so that its files are this repository's"
            )
        if link := next((path for path in folder.rglob("*") if path.is_symlink() and path.is_dir()), None):
            raise UserError(
                f"{os.path.relpath(link)} is a link to a folder, into which DVC does not look; copy it here"
            )
        for file in sorted(path for path in folder.rglob("*") if path.suffix in USD):
            for other in _files_read_by(file):
                if not _is_tracked(other):
                    raise UserError(
                        f"{file} reads {other}, of which DVC would not see a change; put it into {PLACES} too"
                    )


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except OSError:  # longer than a path can be
        return False


def _is_tracked(file: Path) -> bool:
    return _is_within([ASSETS, *own_sources()], file) or _is_installed(file)


def _files_read_by(file: Path) -> list[Path]:
    """List the files on this machine that a USD file is made of, itself among them."""
    try:
        found: Any = UsdUtils.ComputeAllDependencies(str(file))
    except Exception as error:
        raise UserError(f"{file} is no USD file that can be read: {error}") from None
    layers, others, _ = found
    names = [layer.realPath for layer in layers] + list(others)
    return [Path(name) for name in names if name and "://" not in name]

"""Whether DVC would see a change of a function or a file that the params' section ``env`` names."""

from __future__ import annotations

import importlib
import re
import sysconfig
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

from pxr import UsdUtils

from pipeline.experiment.errors import UserError
from pipeline.experiment.paths import ASSETS, LOCKED_PACKAGES

USD = (".usd", ".usda", ".usdc", ".usdz")
FUNCTION = re.compile(r"([a-zA-Z_]\w*)(?:\.\w+)*:\w+")


def find_function(path: str, value: str) -> Callable:
    """Import the function, or the class, that a field names.

    Nothing is imported, and so no code of it runs, before it is known to be of a package that requirements.txt pins.

    Args:
        path: The field, for messages.
        value: ``package.module:function``.

    Raises:
        UserError: If it is no function of such a package.
    """
    match = FUNCTION.fullmatch(value)
    if not match:
        raise UserError(f"{path} should be a function, as package.module:function (given: {value!r})")
    if not _is_locked(match[1]):
        raise UserError(
            f"{path}: DVC would not see a change of {value}; take a function of a package in {LOCKED_PACKAGES}"
        )
    module, _, name = value.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}: {value} cannot be imported: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise UserError(f"{path} should be a function, and {value} is none")
    return function


def _is_locked(package: str) -> bool:
    """Tell whether a package is installed in .venv, as requirements.txt pins it. Looking for it does not import it."""
    spec, installed = util.find_spec(package), Path(sysconfig.get_path("purelib"))
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    if not any(place and Path(place).is_relative_to(installed) for place in places):
        return False
    owns = re.compile(rf"^{package}[/.]", re.MULTILINE)  # what `importlib.metadata` takes seconds to find out
    owners = [record.parent for record in installed.glob("*.dist-info/RECORD") if owns.search(record.read_text())]
    pins = {line.partition("==")[0] for line in LOCKED_PACKAGES.read_text().splitlines() if "==" in line}
    return any(owner.name.partition("-")[0].lower().replace("_", "-") in pins for owner in owners)


def check_file(path: str, value: str) -> None:
    """Refuse a file that is not in assets/; what is no file, nor looks like one, is left alone."""
    looks_like_one = value.lower().startswith("file:") or (Path(value).suffix in USD and "://" not in value)
    is_file = _is_file(value)
    if looks_like_one and not is_file:
        raise UserError(f"{path}: there is no file {value}; give the path of one in {ASSETS}/")
    if is_file and not _is_asset(Path(value)):
        raise UserError(f"{path}: DVC would not see a change of {value}; put the file into {ASSETS}/")


def check_assets() -> None:
    """Refuse what DVC cannot copy into an experiment, and USD files that read others outside assets/.

    Raises:
        UserError: If there is such a thing, or a USD file that cannot be read.
    """
    if submodule := next(ASSETS.rglob(".git"), None):
        raise UserError(f"{submodule.parent}: `dvc exp run` fails on a Git submodule; copy its files here instead")
    for file in sorted(path for path in ASSETS.rglob("*") if path.suffix in USD):
        for other in _files_read_by(file):
            if not _is_asset(other):
                raise UserError(f"{file} reads {other}, of which DVC would not see a change; put it into {ASSETS}/ too")


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except OSError:  # longer than a path can be
        return False


def _is_asset(file: Path) -> bool:
    """Tell whether a file lies in assets/. DVC follows links to files, such as those to its cache, not to folders."""
    return file.absolute().parent.resolve().is_relative_to(ASSETS.resolve())


def _files_read_by(file: Path) -> list[Path]:
    """List the files on this machine that a USD file is made of, itself among them."""
    try:
        found: Any = UsdUtils.ComputeAllDependencies(str(file))
    except Exception as error:
        raise UserError(f"{file} is no USD file that can be read: {error}") from None
    layers, others, _ = found
    names = [layer.realPath for layer in layers] + list(others)
    return [Path(name) for name in names if name and "://" not in name]

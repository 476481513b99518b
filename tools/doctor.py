"""Check that this machine can run the pipeline as params.yaml stands, and print a table."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

from pipeline.experiment import preflight
from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Params
from pipeline.experiment.params_file import load_params
from pipeline.experiment.provenance import cpu_model
from stages.check import check_settings
from tools.storage.store import open_stores

FREE_GIGABYTES = 2


def main() -> None:
    """Print one line a check; exit with 1 if one fails."""
    try:
        params = load_params()
    except UserError as error:
        sys.exit(f"params.yaml   FAILED   {error}")
    print("params.yaml   ok")
    failures = [name for name, check in CHECKS.items() if not _passes(name, check, params)]
    if failures:
        sys.exit(1)


def _passes(name: str, check: Callable[[Params], str], params: Params) -> bool:
    try:
        print(f"{name:<13} ok       {check(params)}")
    except UserError as error:
        print(f"{name:<13} FAILED   {error}")
        return False
    return True


def _processor(_: Params) -> str:
    preflight.check_processor()
    return f"{cpu_model()}, with {' and '.join(sorted(preflight.INSTRUCTIONS))}"


def _settings(params: Params) -> str:
    check_settings(params)
    return f"{params.sim.task}, with {len(params.env)} overrides of its configuration"


def _physics(params: Params) -> str:
    preflight.check_physics(params.sim)
    return params.sim.physics


def _device(params: Params) -> str:
    preflight.check_device(params.sim)
    return f"{params.sim.device}; {preflight.cuda_device_count()} CUDA devices"


def _libraries(params: Params) -> str:
    preflight.check_libraries(params.sim)
    return ", ".join(preflight.LIBRARIES)


def _folders(_: Params) -> str:
    preflight.check_folders()
    return "can be written"


def _disk(_: Params) -> str:
    free = shutil.disk_usage(".").free / 1e9
    if free < FREE_GIGABYTES:
        raise UserError(f"{free:.1f} GB free; make room for {FREE_GIGABYTES} GB: `make tidy` lists what can go")
    return f"{free:.0f} GB free"


def _git(_: Params) -> str:
    preflight.check_git()
    for key in ("user.name", "user.email"):
        if subprocess.run(["git", "config", key], capture_output=True, check=False).returncode:
            raise UserError(f"DVC commits an experiment under your name; tell Git with `git config --global {key} ...`")
    return "has your name and email"


def _remote(_: Params) -> str:
    remote = open_stores()[-1]
    if not remote.exists:
        return f"{remote.name} is a folder that is not there yet; `make push` makes it"
    remote.probe()
    return f"{remote.name} can be read and written"


CHECKS: dict[str, Callable[[Params], str]] = {
    "processor": _processor,
    "physics": _physics,
    "device": _device,
    "libraries": _libraries,
    "settings": _settings,
    "folders": _folders,
    "disk": _disk,
    "Git": _git,
    "DVC remote": _remote,
}

if __name__ == "__main__":
    main()

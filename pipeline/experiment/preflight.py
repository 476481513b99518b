"""Checks of the machine before a stage starts. They take milliseconds, and import neither torch nor Isaac Lab."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import subprocess
import tempfile
import time
from pathlib import Path

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Sim
from pipeline.experiment.paths import LOGS, METRICS, MODELS, RESUME, VIDEOS
from pipeline.experiment.provenance import output_of

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = {"avx2", "fma"}
LIBRARIES = ("libGL.so.1", "libOpenGL.so.0")


def check_machine(sim: Sim) -> None:
    """Run every check.

    Raises:
        UserError: The first thing that ``sim`` asks for and this machine does not have.
    """
    check_processor()
    check_physics(sim)
    check_device(sim)
    check_libraries(sim)
    check_git()
    check_folders()


def let_git_see(path: Path) -> None:
    """Give a file another time, so that Git compares its content with the commit's.

    ``dvc exp run`` rewrites params.yaml twice within a second, and writes Git's index in between. Git goes by size and
    whole seconds, and then takes the file for the committed one.
    """
    with contextlib.suppress(OSError):  # it can only be read
        os.utime(path, (time.time(), max(time.time(), int(path.stat().st_mtime) + 1)))


def check_processor() -> None:
    """Refuse a processor without AVX2, on which torch would take other code, and make other bits without a word."""
    flags = set(CPUINFO.read_text().partition("\n\n")[0].split())
    if missing := INSTRUCTIONS - flags:
        raise UserError(
            f"this processor lacks {' and '.join(sorted(missing))}, without which the bits would be others; "
            "run it on another x86-64 processor (Intel Core and Xeon since Haswell, AMD since Excavator)"
        )


def check_physics(sim: Sim) -> None:
    """Refuse Isaac Sim where it is not installed, an exact Kamino, and the Warp front end on PhysX."""
    if sim.frontend == "warp" and not sim.physics.startswith("newton"):
        raise UserError(
            f"sim.frontend: warp is for Newton; set sim.physics to newton_mjwarp (given: {sim.physics}), or take torch"
        )
    if sim.physics == "newton_kamino" and sim.deterministic:
        raise UserError(
            "sim.physics: newton_kamino has no deterministic mode in Isaac Lab 3.0; "
            "set sim.deterministic to false, or take newton_mjwarp"
        )
    if sim.physics == "isaacsim_physx" and importlib.util.find_spec("isaacsim") is None:
        raise UserError(
            "sim.physics: isaacsim_physx needs Isaac Sim, which is not installed; run `make setup-isaacsim INDEX=...`, "
            "or take physx, the same engine without Isaac Sim"
        )


def check_device(sim: Sim) -> None:
    """Refuse a CUDA device that this machine does not have."""
    if not sim.device.startswith("cuda"):
        return
    number = int(sim.device.partition(":")[2] or 0)
    if number >= cuda_device_count():
        raise UserError(
            f"sim.device: {sim.device} was asked for, and this machine has {cuda_device_count()} CUDA devices; "
            "take cpu, or look at `nvidia-smi`"
        )


def cuda_device_count() -> int:
    """Ask the NVIDIA driver, not torch, which takes seconds to import, how many devices there are."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value


def check_libraries(sim: Sim) -> None:
    """Refuse to start PhysX without the OpenGL loaders; it would fail with "version probe (code 99)"."""
    missing = [name for name in LIBRARIES if not _loads(name)]
    if missing and sim.physics in ("physx", "ovphysx"):
        raise UserError(
            f"PhysX needs the system libraries {' and '.join(missing)}; on Debian and Ubuntu run "
            "`apt-get install libgl1 libopengl0 libglx0`"
        )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def check_git() -> None:
    """Refuse a repository that Git cannot read, as where it belongs to another user; none at all is fine."""
    command = ("git", "rev-parse", "--git-dir")
    try:
        run = subprocess.run(command, env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, check=False)
    except OSError:
        return
    if run.returncode and "not a git repository" not in run.stderr:
        raise UserError(f"Git cannot read this repository: {run.stderr}")


def note_new_files(folder: Path) -> None:
    """Say which files Git does not know yet: DVC copies what Git knows into an experiment that runs elsewhere."""
    if new := output_of("git", "ls-files", "--others", "--exclude-standard", "--", str(folder)).splitlines():
        print(f"Git does not know {new[0]} yet: `git add {folder}`, or `dvc exp run --temp` and the queue miss it")


def check_folders() -> None:
    """Refuse a machine on which a folder that is written to cannot be: it would be found out when outputs are gone."""
    root = Path(os.environ.get("DVC_ROOT", ".")).absolute()
    if not str(root).isprintable() or set("{}") & set(str(root)):
        raise UserError(
            f"{str(root)!r} has a character that USD or DVC fails on (a control character, {{ or }}); move it"
        )
    for folder in (root / LOGS, root / RESUME, MODELS, METRICS, VIDEOS):
        if not _writable(folder):
            raise UserError(
                f"this user cannot write to {folder.absolute()}; see `ls -ld`, or work in a copy of the project"
            )
    caches = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))  # noqa: PTH111  # Path's fails without a home
    cache = os.environ.get("WARP_CACHE_PATH", caches)
    if not _writable(Path(cache)):
        raise UserError(
            f"this user cannot write to {cache}, where Warp keeps its compiled kernels; set WARP_CACHE_PATH to another "
            "folder"
        )
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise UserError("there is no folder for temporary files; set TMPDIR to one that can be written") from None


def _writable(path: Path) -> bool:
    """Tell whether ``path`` is a folder in which this user can write, or can be made."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)

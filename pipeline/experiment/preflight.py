"""Checks of the machine before a stage starts. They take milliseconds, and import neither torch nor Isaac Lab."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Sim

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

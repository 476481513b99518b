"""What must hold before the simulator starts. Each check takes milliseconds and imports neither torch nor Isaac Lab."""

from __future__ import annotations

import ast
import ctypes
import functools
import importlib.util
from pathlib import Path

from pipeline.errors import UserError
from pipeline.params import Params, Sim, did_you_mean

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = {"avx2", "fma"}
LIBRARIES = ("libGL.so.1", "libOpenGL.so.0")


def check_all(params: Params) -> None:
    """Run every check.

    Raises:
        UserError: The first thing that is wrong with the params on this machine.
    """
    check_processor()
    check_task(params.sim)
    check_physics(params.sim)
    check_device(params.sim)
    check_libraries(params.sim)


def check_processor() -> None:
    """Refuse a processor without AVX2, on which torch would take other code, and make other bits without a word."""
    flags = set(CPUINFO.read_text().partition("\n\n")[0].split())
    if missing := INSTRUCTIONS - flags:
        raise UserError(
            f"this processor lacks {' and '.join(sorted(missing))}, without which the bits would be others; "
            "run it on another x86-64 processor (Intel Core and Xeon since Haswell, AMD since Excavator)"
        )


def check_task(sim: Sim) -> None:
    """Refuse a task, or an agent of it, that Isaac Lab does not register for SB3."""
    tasks = registered_tasks()
    if sim.task not in tasks:
        # Every tutorial up to Isaac Lab 2.3 says Isaac-Cartpole-v0.
        raise UserError(
            f"sim.task: Isaac Lab registers no task {sim.task!r} with an SB3 agent; "
            f"{did_you_mean(sim.task.partition('-v')[0], sorted(tasks))}"
        )
    if sim.agent not in tasks[sim.task]:
        raise UserError(
            f"sim.agent: {sim.task} has no agent configuration {sim.agent!r} for SB3; "
            f"{did_you_mean(sim.agent, tasks[sim.task])}"
        )


@functools.cache
def registered_tasks() -> dict[str, list[str]]:
    """The tasks that Isaac Lab registers with an SB3 agent, and the entry points of those agents.

    Read from the calls of ``gym.register`` in the sources, since importing ``isaaclab_tasks`` takes seconds.
    """
    spec = importlib.util.find_spec("isaaclab_tasks")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("Isaac Lab is not installed in this Python; run `make setup`, then `source .venv/bin/activate`")
    tasks = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).rglob("__init__.py")):
        source = path.read_text(encoding="utf-8")
        if "sb3" in source:
            tasks |= _registrations(source)
    return tasks


def _registrations(source: str) -> dict[str, list[str]]:
    tasks = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "register":
            arguments = {keyword.arg: keyword.value for keyword in node.keywords}
            keys = getattr(arguments.get("kwargs"), "keys", [])
            agents = [key.value for key in keys if isinstance(key, ast.Constant) and str(key.value).startswith("sb3")]
            if agents and isinstance(arguments["id"], ast.Constant):
                tasks[arguments["id"].value] = agents
    return tasks


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
            "sim.physics: isaacsim_physx needs Isaac Sim, which is not installed; run `make setup-isaacsim`, "
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

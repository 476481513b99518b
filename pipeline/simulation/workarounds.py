"""Changes to Warp 1.17, ovphysx 0.6 and Isaac Lab 3.0, for what they do badly. Each goes when a release mends it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any


def allow_pinned_arrays_without_cuda() -> None:
    """Let Warp 1.17 ignore ``pinned=True`` where there is no CUDA driver to pin host memory.

    Isaac Lab 3.0 asks for pinned arrays under ``ovphysx`` on the CPU too, and Warp then fails with "Failed to
    allocate 256 bytes on device 'cpu'". Pinning only speeds up copies to a GPU.
    """
    import warp as wp
    from warp._src.types import array

    allocate = array._init_new
    if wp.is_cuda_available() or allocate.__name__ == "allocate_unpinned":
        return

    def allocate_unpinned(self: array, dtype: Any, shape: Any, strides: Any, device: Any, pinned: bool) -> None:  # noqa: ARG001
        allocate(self, dtype, shape, strides, device, False)

    array._init_new = allocate_unpinned


def step_physx_on_the_calling_thread() -> None:
    """Let PhysX step on the calling thread instead of the 8 workers that Isaac Lab 3.0 hard-codes.

    A cartpole is too little work to hand out: up to 1,024 of them step 1.5 to 2 times as fast so, with equal bits.
    """
    import ovphysx

    if ovphysx.PhysXConfig.__name__ == "config_without_workers":
        return
    config: Any = ovphysx.PhysXConfig

    def config_without_workers(**settings: Any) -> Any:
        return config(**settings | {"num_threads": 0})

    ovphysx.PhysXConfig = config_without_workers


def take_own_ground_plane(usd: Path) -> None:
    """Let Isaac Lab's ground plane be ``usd`` where a task names no other, in place of one that it downloads.

    Terrains make the plane when the simulator starts, from defaults that no configuration has.
    """
    from isaaclab.sim import GroundPlaneCfg

    construct = vars(GroundPlaneCfg)["__init__"]
    if isinstance(construct, functools.partialmethod):
        return
    GroundPlaneCfg.__init__ = functools.partialmethod(construct, usd_path=str(usd))  # type: ignore[method-assign]

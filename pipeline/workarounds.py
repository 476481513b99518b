"""What the pinned libraries need to run here, and to start fast; each piece goes when its release mends it."""

from __future__ import annotations

import sys
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

    def allocate_unpinned(self: array, dtype: Any, shape: Any, strides: Any, device: Any, pinned: bool) -> None:
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


def keep_torchs_compiler_away() -> None:
    """Let torch 2.11's optimizers not import torch's compiler, which takes a second, only to tell it to keep off."""
    from torch.optim import Optimizer

    for method in vars(Optimizer).values():
        if function := getattr(method, "__wrapped__", None):
            function.__dynamo_disable = function  # where `torch._disable_dynamo` keeps what it has imported it for


def import_filelock_without_its_audit_hook() -> None:
    """Let Python not call a function of filelock 4.2 at every import, and 200,000 times in all, for 0.3 s of a start.

    It guards against forks while a lock changes hands. Isaac Lab imports filelock for its downloads.
    """
    add = sys.addaudithook
    sys.addaudithook = lambda hook: None
    try:
        import filelock  # noqa: F401
    finally:
        sys.addaudithook = add

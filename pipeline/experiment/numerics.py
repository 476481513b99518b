"""One arithmetic on every x86-64 processor with AVX2, whoever made it.

Left alone, torch, MKL, oneDNN, numpy and Warp each choose the code that is fastest on the processor at hand, and the
last bits of a product, a sum or a square root differ. docs/bits.md lists what was compared, where and how.
"""

from __future__ import annotations

import os

# The libraries read these when they are imported. The code that they choose runs on every processor with AVX2.
NUMERICS_ENV = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "MKL_CBWR": "COMPATIBLE",  # what MKL computes for torch; it takes AVX2 to mean something else on AMD
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # all that numpy has above AVX2
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of numpy, and so of torch (`numpy_kernels.py`)
    "MKL_DYNAMIC": "FALSE",  # as many threads as asked for, on a machine with fewer cores too
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # the same sums on a GPU, with or without sim.deterministic
}
# Set for another program, these would undo the above.
REMOVED = (
    *("DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "NPY_ENABLE_CPU_FEATURES"),
    *("OMP_DYNAMIC", "OMP_THREAD_LIMIT"),  # fewer threads than asked for
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def pin_numerics(threads: int) -> None:
    """Fix the arithmetic of this process; call it before torch or numpy is imported.

    Args:
        threads: Threads of a matrix product or a sum. Another number adds in another order.
    """
    for name in REMOVED:
        os.environ.pop(name, None)
    set_threads(threads)
    os.environ.update(NUMERICS_ENV)
    _compile_warp_for_any_processor()
    _compute_with_numpy()


def set_threads(threads: int) -> None:
    """Let the libraries compute in so many threads, once they are imported."""
    os.environ.update(dict.fromkeys(THREADS, str(threads)))


def _compile_warp_for_any_processor() -> None:
    """Let Warp compile its CPU kernels for x86-64 at large, where it would for the processor at hand."""
    import warp

    warp.config.cpu_compiler_flags = ""  # its cache of kernels tells by them which are which


def _compute_with_numpy() -> None:
    """Let numpy compute for torch what no setting of torch makes the same everywhere, or only slowly."""
    from pipeline.experiment import numpy_kernels

    numpy_kernels.register()

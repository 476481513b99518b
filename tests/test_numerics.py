"""What decides the arithmetic of a process is what the project says, whatever the environment says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ENVIRONMENT, ROOT

pytestmark = pytest.mark.unit

SET = {
    **{"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_DYNAMIC": "FALSE"},
    **{"OPENBLAS_CORETYPE": "Haswell", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"},
    **{"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"},
}
# Each would let a library choose other code, fewer threads, or sums of fewer bits.
REMOVED = (
    *("DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "NPY_ENABLE_CPU_FEATURES", "OMP_DYNAMIC", "OMP_THREAD_LIMIT"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)
PIN = """
import json, os, sys
from pipeline.experiment.numerics import pin_numerics
pin_numerics(threads=3)
import torch, warp
of_torch = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
json.dump([dict(os.environ), *of_torch, warp.config.cpu_compiler_flags], sys.stdout)
"""


@pytest.mark.slow
def test_the_projects_settings_take_the_place_of_whatever_is_set():
    hostile = dict.fromkeys([*SET, *REMOVED], "1")
    command = [sys.executable, "-c", PIN]
    shown = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT | hostile, capture_output=True, text=True, check=True)
    environment, threads, capability, flags = json.loads(shown.stdout)
    assert {name: environment.get(name) for name in SET} == SET
    assert not set(REMOVED) & set(environment)
    assert {"X86_V4", "AVX512_ICL", "AVX512_SPR"} == set(environment["NPY_DISABLE_CPU_FEATURES"].split())
    assert (threads, capability, flags) == (3, "AVX2", "")

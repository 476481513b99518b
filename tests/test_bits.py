"""The same bits on another processor, whatever the environment says, and in every process that computes."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import experiments
from tests.conftest import ENVIRONMENT, ROOT, Project

OPERATIONS = Path(__file__).parent / "bits.json"

# Whatever they meant to whoever set them for another program.
HOSTILE = {
    **{"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    **{"ONEDNN_MAX_CPU_ISA": "SSE41", "DNNL_MAX_CPU_ISA": "SSE41", "NPY_ENABLE_CPU_FEATURES": "X86_V4"},
    **{"OPENBLAS_CORETYPE": "Nehalem", "OMP_NUM_THREADS": "2", "OMP_THREAD_LIMIT": "1", "MKL_DYNAMIC": "TRUE"},
    **{"TZ": "Asia/Tokyo", "LC_ALL": "C"},
}


@pytest.fixture(scope="module")
def other_processor(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables that let a program believe that it runs on an AMD EPYC; none if this machine has no way."""
    library = tmp_path_factory.mktemp("other_processor") / "other_processor.so"
    compiler = shutil.which("cc")
    if compiler is None or ctypes.CDLL(None).syscall(158, 0x1012, 1):  # arch_prctl(ARCH_SET_CPUID), as it is
        return {}
    source = str(ROOT / "tests" / "other_processor.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", source, "-o", str(library), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.fixture(scope="module")
def elsewhere(project: Project, other_processor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The project, run again from nothing on another processor, with another temporary folder; and what it printed."""
    clone = Project(tmp_path_factory.mktemp("elsewhere") / "clone")
    subprocess.run(["git", "clone", "--quiet", project.folder, clone.folder], check=True)
    said = {"MKL_VERBOSE": "1", "OPENBLAS_VERBOSE": "2", "TMPDIR": str(tmp_path_factory.mktemp("tmp"))}
    environment = HOSTILE | other_processor | said
    return clone, clone.run("bash", "-c", "dvc repro --force --no-run-cache 2>&1", **environment).stdout


def digests(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Those of `tests.bits`, in a process with these variables."""
    command = [sys.executable, "-m", "tests.bits", str(folder / "bits.json")]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT | environment, check=True, capture_output=True)
    return json.loads((folder / "bits.json").read_text())


@pytest.mark.slow
@pytest.mark.unit
def test_the_other_processor_lets_torch_choose_other_code(other_processor):
    if not other_processor:
        pytest.skip("this machine has no C compiler, or cannot let the instruction CPUID fault")
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    shown = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT | other_processor, capture_output=True)
    assert shown.stdout == b"AVX2\n"


@pytest.mark.slow
@pytest.mark.unit
def test_every_operation_gives_the_recorded_bits(tmp_path: Path):
    assert digests(tmp_path, {}) == json.loads(OPERATIONS.read_text())


@pytest.mark.slow
@pytest.mark.unit
def test_every_operation_gives_the_recorded_bits_on_another_processor(tmp_path: Path, other_processor):
    assert digests(tmp_path, HOSTILE | other_processor) == json.loads(OPERATIONS.read_text())


@pytest.mark.sim
def test_elsewhere_a_pipeline_ends_with_the_same_dvc_lock_and_nothing_for_git(elsewhere):
    clone, _ = elsewhere
    assert not clone.run("git", "status", "--porcelain").stdout


@pytest.mark.sim
def test_the_settings_are_in_force_in_every_stage(elsewhere):
    _, output = elsewhere
    *_, train, evaluate, render, _ = re.split(r"Running stage '\w+':", output)
    for stage in (train, evaluate, render):
        assert set(re.findall(r"^Core: (\w+)", stage, re.MULTILINE)) == {"Haswell"}, "which OpenBLAS says at its start"
    assert set(re.findall(r"CNR:(\w+)", train)) == {"COMPATIBLE"}, "which MKL says of each call, as for QR"
    assert set(re.findall(r"NThr:(\d+)", train)) == {"1"}


# Last: where Warp has compiled nothing yet, test_asset.py, which runs at the same time, has compiled Newton by now.
def with_marks(name: str) -> Any:
    """One by day, on Newton: the tests of the pipeline compare PhysX."""
    return pytest.param(name, marks=() if name == "Newton, Tanh, SGD" else pytest.mark.night)


@pytest.mark.sim
@pytest.mark.parametrize("name", [with_marks(name) for name in experiments.EXPERIMENTS])
def test_an_experiment_gives_the_recorded_bits(tmp_path: Path, name: str):
    assert experiments.run_experiment(name, tmp_path) == experiments.recorded()[name]

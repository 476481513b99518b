"""On a CUDA GPU: the pipeline ends in the same bits again, stopped or not, whatever simulates."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import parse
from tests.conftest import ROOT, copy_project
from tests.faults import LONG, has_checkpoints, stop_when, went_on_from
from tests.test_ppo import NEEDS_GPU

pytestmark = [pytest.mark.sim, *NEEDS_GPU]


def of_make_repro_gpu() -> dict[str, dict[str, Any]]:
    """What `make repro-gpu` sets, by sections, but for a shorter training."""
    assigned = re.search(r"^GPU = ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert assigned
    sections: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for path, value in parse(assigned[1].replace("\\\n", " ").split()).items():
        section, _, key = path.lstrip("+").partition(".")
        sections[section][key] = value
    rollout = 16 * sections["train"]["num_envs"]
    sections["train"] |= {"total_timesteps": 6 * rollout, "checkpoint_every": rollout}
    return sections


BACKENDS: dict[str, dict[str, dict[str, Any]]] = {
    "PhysX": {**LONG, "sim": {"device": "cuda", "physics": "physx"}},
    "Newton": {**LONG, "sim": {"device": "cuda", "physics": "newton_mjwarp"}},
    "Newton, Warp front end": {**LONG, "sim": {"device": "cuda", "physics": "newton_mjwarp", "frontend": "warp"}},
    "make repro-gpu": of_make_repro_gpu(),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stopped_pipeline_ends_with_the_dvc_lock_of_another(tmp_path: Path, backend: str):
    changes = BACKENDS[backend]
    whole, stopped = (copy_project(tmp_path / name / "clone", changes) for name in ("whole", "stopped"))
    whole.run("dvc", "repro")
    stop_when(stopped, lambda: has_checkpoints(stopped, 2), "SIGKILL to both", "dvc", "repro")
    stopped.run("dvc", "repro")
    assert went_on_from(stopped) >= 2 * changes["train"]["checkpoint_every"]
    assert (stopped.folder / "dvc.lock").read_text() == (whole.folder / "dvc.lock").read_text()


def test_a_training_that_was_stopped_on_a_gpu_begins_at_the_beginning_on_the_cpu(tmp_path: Path):
    stopped = copy_project(tmp_path / "clone", {**LONG, "sim": {"device": "cuda"}})
    stop_when(stopped, lambda: has_checkpoints(stopped, 2), "SIGKILL to both", "dvc", "repro", "train")
    stopped.edit_params({"sim": {"device": "cpu"}})
    stopped.run("dvc", "repro", "train")
    assert went_on_from(stopped) == 0

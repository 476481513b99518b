"""On a CUDA GPU: the pipeline ends in the same bits again, stopped or not, whatever simulates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import copy_project
from tests.kills import LONG, has_checkpoints, stop_when, went_on_from
from tests.test_ppo import NEEDS_GPU

pytestmark = [pytest.mark.sim, *NEEDS_GPU]

MANY_AT_ONCE = "Newton, Warp front end, 4,096 environments, not asked to be deterministic"
BACKENDS: dict[str, dict[str, Any]] = {
    "PhysX": {"physics": "physx"},
    "Newton": {"physics": "newton_mjwarp"},
    "Newton, Warp front end": {"physics": "newton_mjwarp", "frontend": "warp"},
    MANY_AT_ONCE: {"physics": "newton_mjwarp", "frontend": "warp", "deterministic": False},
}
MANY = {
    "num_envs": 4096,
    "total_timesteps": 6 * 65536,
    "checkpoint_every": 65536,
    "log_interval": 65536,
    "keep_all_info": False,  # sums over the environments, in an order that only the deterministic request settles
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stopped_pipeline_ends_with_the_dvc_lock_of_another(tmp_path: Path, backend: str):
    changes = {**LONG, "sim": {"device": "cuda", **BACKENDS[backend]}}
    if backend == MANY_AT_ONCE:
        no_contacts = {"sim.physics.solver_cfg.disable_contacts": True}
        changes |= {"train": MANY, "ppo": {"batch_size": 16384}, "env": no_contacts}
    whole, stopped = (copy_project(tmp_path / name / "clone", changes) for name in ("whole", "stopped"))
    whole.run("dvc", "repro")
    stop_when(stopped, lambda: has_checkpoints(stopped, 2), "SIGKILL to both", "dvc", "repro")
    stopped.run("dvc", "repro")
    assert went_on_from(stopped) >= 2 * changes["train"]["checkpoint_every"]
    assert (stopped.folder / "dvc.lock").read_text() == (whole.folder / "dvc.lock").read_text()

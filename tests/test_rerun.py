"""Stages that run again in a small pipeline: whatever stands there already, and whatever becomes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.verification.fresh_clone import DVC
from tools.verification.recorded import recorded_stages
from tools.verification.rerun import Outcome, run_again

pytestmark = [pytest.mark.unit, pytest.mark.slow]

DVC_YAML = """
stages:
  train:
    cmd: echo policy > model
    outs: [model]
  evaluate:
    cmd: test -e allowed && cp model metrics.json
    deps: [model]
    metrics:
      - metrics.json: {cache: false}
"""


def dvc(folder: Path, *words: str) -> None:
    subprocess.run([*DVC, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which all has run."""
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "allowed").touch()
    dvc(tmp_path, "init", "--no-scm")
    dvc(tmp_path, "repro")
    return tmp_path


def outcomes(clone: Path) -> list[Outcome]:
    return [result.outcome for result in run_again(clone, recorded_stages(clone)).values()]


def test_what_was_written_by_hand_and_into_dvc_lock_too_is_run_again_and_differs(clone: Path):
    assert outcomes(clone) == [Outcome.EQUAL, Outcome.EQUAL]
    (clone / "metrics.json").write_text("better\n")
    dvc(clone, "commit", "--force", "evaluate")
    assert outcomes(clone) == [Outcome.EQUAL, Outcome.DIFFERENT]


def test_a_stage_that_fails_is_not_equal(clone: Path):
    (clone / "allowed").unlink()
    assert outcomes(clone) == [Outcome.EQUAL, Outcome.FAILED]

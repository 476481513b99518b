"""The project as a folder within a larger Git repository, as `dvc init --subdir` sets it up."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import Project, within_larger_repository
from tests.faults import has_checkpoints, stop_when, went_on_from

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def inner(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with its results, as a folder within a larger Git repository."""
    return within_larger_repository(project, tmp_path_factory.mktemp("larger") / "clone")


def test_an_experiment_leaves_its_logs_in_the_project_and_names_what_was_uncommitted(inner: Project):
    inner.run("dvc", "exp", "run", "--temp", "--name", "five", "-S", "evaluate.seed=5", "evaluate")
    (run,) = inner.folder.glob("logs/*_five_evaluate/run.json")
    record = json.loads(run.read_text())
    assert record["state"] == "finished"
    assert record["uncommitted"] == ["params.yaml"]
    assert "evaluate:\n" in inner.run(sys.executable, "-m", "tools.provenance", "five").stdout


@pytest.mark.night
def test_a_training_that_dvc_was_killed_in_goes_on_after_git_and_dvc_lock_are_mended(inner: Project):
    lock = inner.folder / "dvc.lock"
    whole = lock.read_text()
    experiment = ("dvc", "exp", "run", "-S", "train.total_timesteps=12288", "-S", "seed=9", "train")
    stop_when(inner, lambda: has_checkpoints(inner, 2), "SIGKILL to both", *experiment)
    lock.write_text(f"{whole}  half: {{")
    mended = inner.run(sys.executable, "-m", "tools.mend").stdout
    assert "it is on main again" in mended
    assert "it is as in Git again" in mended
    assert lock.read_text() == whole
    inner.run("dvc", "repro", "train")
    assert went_on_from(inner) >= 1024
    stopped = trained(inner)
    inner.run("dvc", "repro", "--force", "--no-run-cache", "train")
    assert went_on_from(inner) == 0
    assert trained(inner) == stopped


def trained(project: Project) -> dict[str, Any]:
    """What dvc.lock has of the training."""
    return YAML(typ="safe").load((project.folder / "dvc.lock").read_text())["stages"]["train"]

"""What is edited while a stage runs: dvc.lock tells the truth, or nothing."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from tests.conftest import Project, wait_until
from tests.faults import is_recorded

pytestmark = pytest.mark.sim


def is_training(project: Project) -> bool:
    return any(project.folder.glob("logs/*_train/simulator.log"))


def test_what_is_edited_while_a_stage_runs_is_named_and_nothing_recorded(fresh_project: Project):
    with fresh_project.start("dvc", "repro", "train") as dvc:
        wait_until(lambda: is_training(fresh_project), seconds=60)
        fresh_project.edit_params({"ppo": {"gamma": 0.5}, "render": {"fps": 30}})
        with (fresh_project.folder / "pipeline" / "ppo" / "rollout_buffer.py").open("a") as file:
            file.write("# edited\n")
        output, _ = dvc.communicate(timeout=120)
    assert dvc.returncode
    sentence = "train: ppo in params.yaml, pipeline/ppo changed while the stage ran; nothing was recorded"
    assert sentence in output
    assert not is_recorded(fresh_project, "train")


def test_what_the_stage_does_not_read_may_be_edited_while_it_runs(fresh_project: Project):
    with fresh_project.start("dvc", "repro", "train") as dvc:
        wait_until(lambda: is_training(fresh_project), seconds=60)
        fresh_project.edit_params({"render": {"fps": 30}})
        output, _ = dvc.communicate(timeout=120)
    assert not dvc.returncode, output
    lock = YAML(typ="safe").load((fresh_project.folder / "dvc.lock").read_text())
    assert lock["stages"]["train"]["params"]["params.yaml"]["ppo"]["gamma"] == 0.995

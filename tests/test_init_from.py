"""Training that starts from a trained policy."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.policy.policy import Policy
from pipeline.training.optimizer_state import OPTIMIZER_FILE
from tests.conftest import Project

pytestmark = pytest.mark.sim


@pytest.fixture
def pretrained(fresh_project: Project, project: Project) -> Project:
    """A project in which nothing has run, with the policy of another as ``pretrained/``."""
    (fresh_project.folder / "pretrained").mkdir()
    for name in ("policy.json", "policy.safetensors"):
        shutil.copy2(project.folder / "models" / name, fresh_project.folder / "pretrained")
    fresh_project.edit_params({"train": {"init_from": "pretrained"}})
    return fresh_project


def test_training_starts_from_its_weights_and_normalisation_with_the_hyperparameters_asked_for(
    pretrained: Project, project: Project
):
    pretrained.edit_params({"ppo": {"learning_rate": 1e-12}})
    pretrained.run("dvc", "repro", "train")
    before, after = (Policy.load(pretrained.folder / name) for name in ("pretrained", "models"))
    for name, weights in before.weights.items():
        torch.testing.assert_close(after.weights[name], weights, rtol=0, atol=1e-6)
    assert after.agent["learning_rate"] == 1e-12
    # Each training sees 1,024 steps, and 16 environments start afresh at its beginning and at its checkpoint.
    for policy, trainings in ((before, 1), (after, 2)):
        assert policy.normalization
        assert policy.normalization.observations
        assert policy.normalization.rewards
        assert policy.normalization.observations.count == pytest.approx(1056 * trainings, abs=1e-3)
        assert policy.normalization.rewards.count == pytest.approx(1024 * trainings, abs=1e-3)
    assert optimizer_steps(pretrained) == optimizer_steps(project), "each training has had as many"
    lock = (pretrained.folder / "dvc.lock").read_text()
    assert "path: pretrained\n" in lock


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("policy.safetensors", None, "train.init_from: pretrained/policy.safetensors is missing"),
        ("policy.json", {"task": "Isaac-Ant"}, "train.init_from: the policy was trained for the task Isaac-Ant"),
        (None, {"ppo": {"policy_kwargs": {"net_arch": [16]}}}, "train.init_from: the policy has other layers than ppo"),
        (None, {"normalize": {"observations": False}}, "train.init_from: set normalize.observations to true"),
    ],
    ids=["missing", "another task", "other layers", "without its normalisation"],
)
def test_a_policy_that_does_not_fit_is_refused_before_the_simulator_starts(pretrained: Project, file, change, sentence):
    if file is None:
        pretrained.edit_params(change)
    elif change is None:
        (pretrained.folder / "pretrained" / file).unlink()
    else:
        replace(pretrained.folder / "pretrained" / file, change)
    result = pretrained.run("dvc", "repro", "train", check=False)
    assert result.returncode
    assert sentence in result.stderr
    assert not list(pretrained.folder.glob("logs/*/simulator.log"))


@pytest.mark.night
def test_what_started_from_a_policy_and_its_optimizers_state_comes_out_again_to_the_bit(
    pretrained: Project, project: Project
):
    shutil.copy2(project.folder / "models" / OPTIMIZER_FILE, pretrained.folder / "pretrained")
    pretrained.run("dvc", "add", "pretrained")
    pretrained.run("dvc", "repro")
    assert optimizer_steps(pretrained) == 2 * optimizer_steps(project)
    pretrained.commit("Results that started from a policy")
    verified = pretrained.run(sys.executable, "-m", "tools.verify")
    assert "reproduced to the bit: 19 of 19 outputs" in verified.stdout


def optimizer_steps(project: Project) -> int:
    """The steps that the optimizer has taken when the training ends."""
    state = safetensors.torch.load_file(project.folder / "models" / OPTIMIZER_FILE)
    (steps,) = {int(tensor) for name, tensor in state.items() if name.endswith(".step")}
    return steps


def replace(path: Path, change: dict) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change, sort_keys=True, indent=2) + "\n")

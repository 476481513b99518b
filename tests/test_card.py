"""The model card, and what the policy tells of its numbers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from pipeline.card.card import write_card
from pipeline.card.checksums import SUMS, checksums
from tests.conftest import Project

SIGNALS = {
    "rate": 60.0,
    "observations": [{"name": "angle", "unit": "rad", "scale": 0.5, "offset": 0.1, "axis": [1.0, 0.0, 0.0]}],
    "actions": [{"name": "push", "unit": None, "scale": 100.0, "offset": 0.0, "axis": None}],
}
POLICY = {"task": "Toy", "agent": {}, "timesteps": 2048, "seed": 3, "signals": SIGNALS}
EVALUATION = {
    "policy_sha256": "0" * 64,
    "return_high": 2.5,
    "return_low": 1.5,
    "return_mean": 2.0,
    "survival_rate": 0.75,
}
PARAMS = {"evaluate": {"episodes": 1000}, "seed": 3, "sim": {"physics": "physx"}}


@pytest.mark.unit
def test_hugging_face_reads_the_metrics():
    data: Any = ModelCard(write_card(POLICY, EVALUATION, PARAMS)).data
    assert data.license == "bsd-3-clause"
    results = {result.metric_type: result.metric_value for result in data.eval_results}
    assert results == {name: value for name, value in EVALUATION.items() if name != "policy_sha256"}
    assert {result.dataset_name for result in data.eval_results} == {"Toy"}


@pytest.mark.unit
def test_people_read_the_metrics_units_and_params():
    card = write_card(POLICY, EVALUATION, PARAMS)
    assert "Return 2.000 (1.500 to 2.500), survival rate 75.0%." in card
    assert "| 0 | angle | rad | 0.5 | 0.1 | (1, 0, 0) |" in card
    assert "| 0 | push |  | 100 | 0 |  |" in card
    assert "1,000 episodes with deterministic actions" in card
    assert "  physics: physx\n" in card


@pytest.mark.unit
def test_the_optimizers_state_is_of_the_optimizer_that_was_chosen():
    assert "| Adam's state" in write_card(POLICY, EVALUATION, PARAMS)
    chosen = {"policy_kwargs": {"optimizer_class": "optim.SGD"}}
    assert "| SGD's state" in write_card(POLICY | {"agent": chosen}, EVALUATION, PARAMS)


@pytest.mark.unit
def test_sha256sum_checks_every_file_but_hidden_ones(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("policy.json", "checkpoints/one", ".gitignore"):
        (tmp_path / name).write_text(name)
    (tmp_path / SUMS).write_bytes(checksums(tmp_path))
    assert checksums(tmp_path) == (tmp_path / SUMS).read_bytes(), "it does not list itself"
    check = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.count(": OK") == 2
    (tmp_path / "checkpoints" / "one").write_text("two")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


@pytest.mark.sim
def test_the_policy_tells_what_its_numbers_mean(project: Project):
    told = json.loads((project.folder / "models" / "policy.json").read_text())["signals"]
    assert [(signal["unit"], signal["axis"]) for signal in told["observations"]] == [
        ("m", [0.0, 1.0, 0.0]),
        ("rad", [1.0, 0.0, 0.0]),
        ("m/s", [0.0, 1.0, 0.0]),
        ("rad/s", [1.0, 0.0, 0.0]),
    ]
    assert [(signal["unit"], signal["scale"]) for signal in told["actions"]] == [("N", 100.0)]
    assert told["rate"] == 60.0

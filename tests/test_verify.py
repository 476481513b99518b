"""`make verify`: the same experiment gives the same bytes anywhere on this machine, and what is not true is named."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tools.verify import judge, other_machine

pytestmark = pytest.mark.sim

VERIFY = (sys.executable, "-m", "tools.verify")
# Another user in another place; the home folder stays, for its cache of compiled kernels.
ELSEWHERE: dict[str, Any] = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "USER": "nobody", "LOGNAME": "nobody"}
ELSEWHERE["ATEN_CPU_CAPABILITY"] = "default"  # which would change the bits


@pytest.fixture
def clone(project: Project, tmp_path: Path) -> Project:
    """A clone of the project with its data."""
    clone = Project(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", project.folder, clone.folder], check=True)
    shutil.copytree(project.folder / "models", clone.folder / "models", dirs_exist_ok=True)
    return clone


def test_the_committed_results_come_out_again_to_the_bit(project: Project):
    with project.start(sys.executable, "-c", "while True: pass") as busy:
        try:
            result = project.run(*VERIFY, **ELSEWHERE)
        finally:
            busy.kill()
    outputs = [
        line.split() for line in result.stdout.splitlines() if line.startswith(("metrics/", "models/", "videos/"))
    ]
    assert len(outputs) == 15
    assert all(expected == got and equal == "yes" for _, expected, got, equal in outputs)
    assert "reproduced to the bit: 15 of 15 outputs" in result.stdout


def test_an_experiment_on_newton_comes_out_again_to_the_bit(project: Project):
    project.run("dvc", "exp", "run", "--temp", "--name", "newton", "-S", "sim.physics=newton_mjwarp")
    assert "reproduced to the bit: 15 of 15 outputs" in project.run(*VERIFY, "newton").stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "name"),
    [
        ("metrics/evaluate.json", '"length_mean": ', '"length_mean": 1', "metrics/evaluate.json"),
        ("params.yaml", "gamma: 0.995", "gamma: 0.99", "ppo in params.yaml"),
        ("pipeline/rollout.py", "gae_lambda * going_on", "going_on", "pipeline/rollout.py"),
        ("models/policy.json", '"timesteps": ', '"timesteps": 1', "models/policy.json"),
    ],
    ids=["metric", "param", "code", "weights"],
)
def test_what_was_tampered_with_is_named(clone: Project, file: str, old: str, new: str, name: str):
    path = clone.folder / file
    content = path.read_text()
    assert content.count(old) == 1
    path.write_text(content.replace(old, new))
    result = clone.run(*VERIFY, check=False)
    assert result.returncode == 1
    assert f"not what dvc.lock says: {name}\n" in result.stdout
    assert result.stdout.count("not what dvc.lock says") == 1


def test_a_tampered_dvc_lock_is_found_out_by_running(clone: Project):
    path = clone.folder / "dvc.lock"
    weights = hashlib.md5((clone.folder / "models" / "policy.safetensors").read_bytes()).hexdigest()
    assert weights in path.read_text()
    path.write_text(path.read_text().replace(weights, "f" * 32))
    clone.run("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--all", "--message", "Better")
    result = clone.run(*VERIFY, "HEAD", check=False)
    assert result.returncode == 1
    assert "models/policy.safetensors            ffffffff" in result.stdout
    assert "NOT reproduced, on a machine of the recorded kind" in result.stdout


def test_on_another_kind_of_machine_the_evaluations_are_compared_and_called_no_proof(capsys):
    recorded = {"return_low": 4.8, "return_high": 4.9}
    assert judge(recorded, {"return_low": 4.85, "return_high": 4.95}, other=True) == 2
    assert "No proof" in capsys.readouterr().out
    assert judge(recorded, {"return_low": 4.91, "return_high": 4.95}, other=True) == 1
    assert "DO NOT overlap" in capsys.readouterr().out


def test_it_says_in_what_this_machine_is_another(project: Project):
    provenance = json.loads((project.folder / "metrics" / "provenance.json").read_text())
    assert other_machine(provenance, provenance) == []
    another = copy.deepcopy(provenance)
    another["train"]["machine"]["cpu"] = "Z80"
    another["evaluate"]["device"] = "cuda:0"
    differences = other_machine(another, provenance)
    assert [line.partition("; recorded ")[2] for line in differences] == ["cuda:0", "Z80"]
    assert "nobody knows on which" in other_machine({}, provenance)[0]


def test_an_unknown_revision_is_one_sentence(project: Project):
    result = project.run(*VERIFY, "nowhere", check=False)
    assert result.returncode
    assert "see `git log` and `dvc exp list`" in result.stderr
    assert "Traceback" not in result.stderr

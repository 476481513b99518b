"""`make evaluate`: any policy, or all checkpoints, as the stage `evaluate` plays the trained one."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tools import evaluate

TOOL = (sys.executable, "-m", "tools.evaluate")
ROW = {"return_mean": 4.94149, "return_low": 4.93751, "return_high": 4.9446}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two policies and of what is none."""
    for name in ("512/policy.json", "1024/policy.json", "other/README.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.unit
def test_a_folder_with_a_policy_is_that_policy_and_another_one_all_policies_in_it(folder: Path):
    assert set(evaluate.find_policies(folder)) == {folder / "512", folder / "1024"}
    assert evaluate.find_policies(folder / "512") == [folder / "512"]
    (folder / "policy.json").touch()
    assert evaluate.find_policies(folder) == [folder], "as models/ is, beside its checkpoints"


@pytest.mark.unit
def test_the_table_has_a_line_a_policy():
    rows: list[dict[str, Any]] = [
        {"policy": "models/checkpoints/512", "timesteps": 512, **ROW, "success_rate": 0.9966},
        {"policy": "models", "timesteps": 614400, **ROW, "return_low": -2.0, "success_rate": 1.0},
    ]
    assert evaluate.table(rows).splitlines() == [
        "policy                    timesteps  return                    success rate",
        "models/checkpoints/512          512  4.941  (4.938 to 4.945)   99.7%",
        "models                      614,400  4.941  (-2.000 to 4.945)  100.0%",
    ]
    head, row = evaluate.table([{"policy": "models", "timesteps": 512, **ROW, "survival_rate": 0.25}]).splitlines()
    assert (head.split("  ")[-1], row.split()[-1]) == ("survival rate", "25.0%")


@pytest.mark.unit
@pytest.mark.parametrize("rate", ["success_rate", "survival_rate"])
def test_the_picture_is_drawn(tmp_path: Path, rate: str):
    evaluate.plot([{"timesteps": steps, **ROW, rate: 0.5} for steps in (512, 1024)], tmp_path / "evaluation.png")
    assert (tmp_path / "evaluation.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.unit
@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "given", "sentence"),
    [
        ("evaluate", "nowhere", "evaluate: POLICY: there is no folder nowhere\n"),
        ("evaluate", "docs", "evaluate: POLICY: neither docs nor a folder in it has a policy (policy.json)\n"),
        ("evaluate", "broken", "evaluate: broken/policy.json: "),
        ("robustness", "nowhere", "robustness: POLICY: there is no folder nowhere\n"),
        ("robustness", "broken", "robustness: broken/policy.json: "),
    ],
)
def test_what_is_no_policy_is_refused_in_a_sentence(fresh_project: Project, tool: str, given: str, sentence: str):
    (fresh_project.folder / "docs").mkdir()
    (fresh_project.folder / "broken").mkdir()
    (fresh_project.folder / "broken" / "policy.json").write_text("{}")
    result = fresh_project.run(sys.executable, "-m", f"tools.{tool}", given, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
    assert not (fresh_project.folder / "logs").exists()


@pytest.mark.sim
@pytest.mark.parametrize("tool", ["evaluate", "robustness"])
def test_a_policy_of_another_task_is_refused_before_the_simulator_starts(project: Project, tool: str, tmp_path: Path):
    clone = Project(shutil.copytree(project.folder, tmp_path / "clone"))
    clone.edit_params({"sim": {"task": "Isaac-Cartpole-Direct"}})
    before = {*clone.folder.glob("logs/*")}
    result = clone.run(sys.executable, "-m", f"tools.{tool}", "models", check=False)
    assert result.stderr == (
        f"{tool}: models: the policy was trained for Isaac-Cartpole; set sim.task to that in params.yaml\n"
    )
    assert {*clone.folder.glob("logs/*")} == before


@pytest.mark.sim
def test_whatever_is_played_before_it_the_policy_gets_the_numbers_of_the_pipeline(project: Project):
    shown = project.run("make", "--old-file=setup", "evaluate").stdout
    (folder,) = project.folder.glob("logs/*_policies")
    with (folder / "evaluation.csv").open() as file:
        checkpoint, final = csv.DictReader(file)
    assert (checkpoint["policy"], checkpoint["timesteps"]) == ("models/checkpoints/512", "512")
    assert (final.pop("policy"), final.pop("timesteps")) == ("models", "1024")
    recorded = json.loads((project.folder / "metrics" / "evaluate.json").read_text())
    assert final == {name: str(value) for name, value in recorded.items()}
    assert checkpoint["return_mean"] != final["return_mean"]
    assert f"{recorded['return_mean']:.3f}  (" in shown.splitlines()[-3]
    assert shown.splitlines()[-1].startswith(f"written: logs/{folder.name}/evaluation.csv")
    assert (folder / "evaluation.png").stat().st_size
    assert not project.run("git", "status", "--porcelain").stdout

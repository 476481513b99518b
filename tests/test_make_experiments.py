"""`make experiments`: a table of what differs in the experiments' params, and how they did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiment.params import Params
from tests.conftest import Project

pytestmark = pytest.mark.sim

# A param of every section, some with names that resemble a metric's.
CHANGES: dict[str, Any] = {
    "seed": 9,
    "sim": {"threads": 2},
    "env": {"episode_length_s": 0.6},
    "ppo": {"max_grad_norm": 2.0},
    "normalize": {"until": 512},
    "train": {"num_envs": 32, "total_timesteps": 2048},
    "evaluate": {"episodes": 9},
    "render": {"length": 6},
}
PARAMS = {f"{section}.{name}" for section, values in CHANGES.items() if isinstance(values, dict) for name in values} | {
    "seed"
}


@pytest.fixture
def clone(project: Project, tmp_path: Path) -> Project:
    """A copy of the project at a new commit, which has no experiments yet."""
    clone = Project(shutil.copytree(project.folder, tmp_path / "clone"))
    clone.run("git", "commit", "--quiet", "--allow-empty", "--message", "Nothing new")
    return clone


def save_another(clone: Project) -> None:
    """Save an experiment, `other`, that has another value of everything that there is."""
    clone.edit_params(CHANGES)
    for name in ("train", "evaluate"):
        path = clone.folder / "metrics" / f"{name}.json"
        values = json.loads(path.read_text())
        path.write_text(json.dumps(dict.fromkeys(values, 0.25) | {"policy_sha256": values["policy_sha256"][::-1]}))
    for name in ("pipeline/experiment/errors.py", "requirements.txt", "assets/random_weights.md", "models/policy.json"):
        with (clone.folder / name).open("a") as file:
            file.write("\n")
    clone.run("dvc", "exp", "save", "--name", "other")


def shown(clone: Project) -> dict[str, dict[str, str]]:
    """The rows of the table, by their experiments."""
    lines = [line for line in clone.run("make", "--old-file=setup", "experiments").stdout.splitlines() if "  " in line]
    (header,) = (line.split() for line in lines if "Experiment  " in line)
    rows = [line.split() for line in lines if line.startswith(("  workspace", "  main", "  ├──", "  └──"))]
    return {row[-len(header)]: dict(zip(header, row[-len(header) :], strict=True)) for row in rows}


def test_make_experiments_shows_every_param_that_differs_and_how_the_experiments_did(clone: Project):
    assert set(CHANGES) == set(Params.model_fields)
    save_another(clone)
    rows = shown(clone)
    other = rows["[other]"]
    assert set(other) == {"Experiment", "return_mean", "success_rate"} | PARAMS
    assert (other["return_mean"], other["success_rate"]) == ("0.25", "0.25")
    assert (other["seed"], other["train.num_envs"]) == ("9", "32")
    assert (rows["main"]["seed"], rows["main"]["train.num_envs"]) == ("42", "16")


def test_make_experiments_shows_how_they_did_also_where_all_did_the_same(clone: Project):
    assert set(shown(clone)["main"]) == {"Experiment", "return_mean", "success_rate"}


def test_make_experiments_sums_up_what_differs_in_the_seed_alone_and_not_what_other_code_made(clone: Project):
    for name, code in (("before", ""), ("after", "\n")):
        with (clone.folder / "pipeline/experiment/errors.py").open("a") as file:
            file.write(code)
        for seed in (1, 2):
            clone.edit_params({"seed": seed})
            clone.run("dvc", "exp", "save", "--name", f"{name}-s{seed}")
    _, *lines = clone.run("make", "--old-file=setup", "experiments").stdout.partition("\nseeds  ")[2].splitlines()
    assert [line.split()[0] for line in lines] == ["2", "2"]
    assert all("pipeline/experiment=" in line for line in lines)

"""`make provenance`: what made the results first, wherever they come from now."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.experiment.paths import PROVENANCE
from pipeline.experiment.records import LOCAL, read_records, recorded_outputs
from tests.conftest import Project

pytestmark = pytest.mark.sim


def provenance(project: Project, *revision: str) -> dict[str, Any]:
    return yaml.safe_load(project.run(sys.executable, "-m", "tools.provenance", *revision).stdout)


@pytest.fixture
def clone(project: Project, tmp_path: Path) -> Project:
    """A copy of the project with its results and its cache."""
    return Project(shutil.copytree(project.folder, tmp_path / "clone"))


def in_git(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what is of one machine."""
    return {name: value for name, value in record.items() if name not in LOCAL}


def test_provenance_tells_what_made_the_results(project: Project):
    made = provenance(project)
    assert list(made) == ["train", "evaluate", "render", "card"]
    train = made["train"]
    assert (train["device"], train["resumed_from"], train["uncommitted"]) == ("cpu", 0, [])
    assert train["packages"]["torch"].startswith("2.11.0")
    assert train["seconds"] > 0
    engines = {stage: facts["physics"] for stage, facts in made.items() if stage != "card"}
    assert set(engines.values()) == {"OvPhysxCfg"}, "the engine, and not its alias"
    for stage, facts in made.items():
        runs = [json.loads(path.read_text()) for path in project.folder.glob(f"logs/*_workspace_{stage}/run.json")]
        run = next(run for run in runs if run["started"] == facts["started"] and run["stage"] == stage)
        assert facts == in_git(run)


@pytest.mark.night
def test_results_from_the_run_cache_keep_their_record_and_make_repro_gives_it_back_to_git(clone: Project):
    first = provenance(clone)
    clone.edit_params({"evaluate": {"seed": 5}})
    clone.run("dvc", "repro", "evaluate")
    second = provenance(clone)["evaluate"]
    assert second["outputs"] != first["evaluate"]["outputs"]
    clone.run("git", "checkout", "--quiet", "--", ".")
    assert provenance(clone) == first
    clone.edit_params({"evaluate": {"seed": 5}})
    assert "Running stage 'evaluate'" not in clone.run("dvc", "repro", "evaluate").stdout
    assert second["started"] == provenance(clone)["evaluate"]["started"], "from logs/, since Git has lost it"
    clone.run(sys.executable, "-m", "tools.summary")
    assert second["started"] in [record["started"] for record in read_records((clone.folder / PROVENANCE).read_text())]
    assert provenance(clone, "HEAD") == first


def test_a_commit_and_an_experiment_have_the_records_of_their_own_outputs(clone: Project):
    first = provenance(clone)
    with (clone.folder / "metrics" / "evaluate.json").open("a") as file:
        file.write("\n")
    clone.run("dvc", "commit", "--force", "evaluate")
    outputs = recorded_outputs((clone.folder / "dvc.lock").read_text())["evaluate"]
    second = first | {"evaluate": first["evaluate"] | {"outputs": outputs, "device": "cuda:0"}}
    with (clone.folder / PROVENANCE).open("a") as file:
        file.write(f"{json.dumps(second['evaluate'])}\n")
    clone.run("dvc", "exp", "save", "--name", "other")
    clone.commit("Other results")
    shutil.rmtree(clone.folder / "logs")
    (clone.folder / PROVENANCE).unlink()
    assert provenance(clone, "HEAD~1") == first
    assert provenance(clone, "other") == second
    said = clone.run("make", "--silent", "--old-file=setup", "provenance", "REV=HEAD").stdout
    assert yaml.safe_load(said) == second


def test_a_revision_that_lacks_its_records_has_those_that_git_has_here(clone: Project):
    """As one whose results came from the run cache, and were committed without `make repro`."""
    first, records = provenance(clone), (clone.folder / PROVENANCE).read_text()
    (clone.folder / PROVENANCE).write_text("\n")
    clone.commit("Results without records")
    (clone.folder / PROVENANCE).write_text(records)
    shutil.rmtree(clone.folder / "logs")
    assert provenance(clone, "HEAD") == first


def test_a_revision_of_before_there_were_records_has_those_that_are_known_here(clone: Project):
    first = provenance(clone)
    clone.run("git", "rm", "--quiet", "--cached", str(PROVENANCE))
    clone.run("git", "commit", "--quiet", "--message", "As before there were records")
    assert provenance(clone, "HEAD") == first
    (clone.folder / PROVENANCE).unlink()
    assert {stage: in_git(record) for stage, record in provenance(clone, "HEAD").items()} == first, "from logs/"
    shutil.rmtree(clone.folder / "logs")
    assert provenance(clone, "HEAD") == dict.fromkeys(["train", "evaluate", "render", "card"])


def test_results_that_nobody_has_a_record_of_are_said_to_have_none(clone: Project):
    (clone.folder / PROVENANCE).unlink()
    shutil.rmtree(clone.folder / "logs")
    assert provenance(clone) == dict.fromkeys(["train", "evaluate", "render", "card"])


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("main~2", "main~2 has no dvc.lock\n"),
        ("nowhere", "see `git log` and `dvc exp list`\n"),
    ],
)
def test_a_revision_without_results_is_one_sentence(clone: Project, revision: str, sentence: str):
    result = clone.run(sys.executable, "-m", "tools.provenance", revision, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith(sentence)
    assert result.stderr.count("\n") == 1

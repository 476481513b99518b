"""`make provenance`: what made the results first, wherever they come from now."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.records import RECORDS, read_records
from tests.conftest import Project

pytestmark = pytest.mark.sim


def provenance(project: Project, *revision: str) -> dict[str, Any]:
    return yaml.safe_load(project.run(sys.executable, "-m", "tools.provenance", *revision).stdout)


@pytest.fixture
def clone(project: Project, tmp_path: Path) -> Project:
    """A copy of the project with its results and its cache."""
    return Project(shutil.copytree(project.folder, tmp_path / "clone"))


def test_provenance_tells_what_made_the_results(project: Project):
    made = provenance(project)
    assert list(made) == ["train", "evaluate", "render"]
    train = made["train"]
    assert (train["device"], train["resumed_from"], train["uncommitted"]) == ("cpu", 0, [])
    assert train["packages"]["torch"].startswith("2.11.0")
    assert train["seconds"] > 0


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
    assert second["started"] in [record["started"] for record in read_records((clone.folder / RECORDS).read_text())]
    assert provenance(clone, "HEAD") == first


def test_results_that_nobody_has_a_record_of_are_said_to_have_none(clone: Project):
    (clone.folder / RECORDS).unlink()
    shutil.rmtree(clone.folder / "logs")
    assert provenance(clone) == {"train": None, "evaluate": None, "render": None}

"""`make provenance`: what made the results."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.conftest import Project

pytestmark = pytest.mark.sim


def test_provenance_tells_what_made_the_results(project: Project):
    shown = project.run(sys.executable, "-m", "tools.provenance").stdout
    for line in ("train:", "  device: cpu", "  resumed_from: 0", "  uncommitted: []", "    torch: 2.11.0"):
        assert f"\n{line}\n" in f"\n{shown}"
    assert "another run" not in shown


def test_provenance_says_when_results_come_from_the_cache_and_the_record_from_another_run(project: Project, tmp_path):
    clone = Project(shutil.copytree(project.folder, tmp_path / "clone"))
    for seed in (5, 1_000_000):
        clone.edit_params({"evaluate": {"seed": seed}})
        clone.run("dvc", "repro", "evaluate")
    shown = clone.run(sys.executable, "-m", "tools.provenance").stdout
    assert [line for line in shown.splitlines() if "another run" in line] == [
        "# evaluate: this is another run's record; DVC has taken these results from its cache"
    ]

"""The committed experiment: run from nothing, on whatever machine this is, it gives the bits that are committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import begin_repository

pytestmark = pytest.mark.sim


def test_after_make_repro_there_is_nothing_for_git_to_commit(tmp_path: Path):
    project = begin_repository(tmp_path / "clone")
    project.commit("As it is here")
    assert (project.folder / "dvc.lock").exists()
    # With the environment that runs this test; forced, since what Git keeps of the evaluation is up to date already.
    shown = project.run("make", "--old-file=setup", "repro", "ARGS=--force --no-run-cache").stdout
    assert not project.run("git", "status", "--porcelain").stdout, (
        "code was changed without `make repro`, or bits differ"
    )
    for stage in ("check", "train", "evaluate", "render"):
        assert f"Running stage '{stage}'" in shown, "nothing came from a cache"

"""`.gitignore`: what a run or a tool makes is never in Git's way, be it a folder or a link to one on another disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import begin_repository

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_made_here_is_not_gits(tmp_path: Path, kind: str):
    project = begin_repository(tmp_path / "clone")
    project.commit("Everything")
    for name in (".venv", "logs", "outputs", ".resume"):
        folder = project.folder / name if kind == "folder" else tmp_path / "disk" / name
        folder.mkdir(parents=True)
        (folder / "file").touch()
        if kind == "link":
            (project.folder / name).symlink_to(folder)
    assert not project.run("git", "status", "--porcelain").stdout

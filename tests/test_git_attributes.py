"""`.gitattributes`: a commit and a checkout keep every byte, also where Git is told to convert the ends of lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import begin_repository

pytestmark = pytest.mark.unit


def content(folder: Path) -> dict[str, bytes]:
    """Every file but Git's own, by its path."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if name.parts[0] != ".git"}


def clone_with_autocrlf(tmp_path: Path, attributes: bytes | None = None) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Commit and clone the project's files, all with ``core.autocrlf=true``; return them before and after."""
    project = begin_repository(tmp_path / "original")
    (project.folder / "metrics" / "windows.csv").write_bytes(b"a,b\r\n1,2\r\n")
    if attributes is not None:
        (project.folder / ".gitattributes").write_bytes(attributes)
    before = content(project.folder)
    project.run("git", "config", "core.autocrlf", "true")
    project.commit("Everything")
    project.run("git", "-c", "core.autocrlf=true", "clone", "--quiet", str(project.folder), str(tmp_path / "clone"))
    return before, content(tmp_path / "clone")


def test_a_clone_with_autocrlf_has_the_same_bytes(tmp_path: Path):
    before, after = clone_with_autocrlf(tmp_path)
    assert {"dvc.lock", "metrics/episodes.csv", "params.yaml", "assets/cartpole.usda"} < set(before)
    assert sorted(after) == sorted(before)
    assert [name for name in before if after[name] != before[name]] == []


def test_without_the_attributes_such_a_clone_has_other_bytes(tmp_path: Path):
    before, after = clone_with_autocrlf(tmp_path, attributes=b"")
    assert after["params.yaml"] != before["params.yaml"], "or the test above shows nothing"

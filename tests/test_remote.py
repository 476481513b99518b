"""What docs/storage.md says that a team types, with real servers on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers import Kind, serving
from tests.stored import FILES, VIDEO, Stored, make_stored

pytestmark = [pytest.mark.unit, pytest.mark.slow, pytest.mark.timeout(120)]
PUSH = (sys.executable, "-m", "tools.push")


@pytest.mark.parametrize("kind", ["s3", "ssh"])
def test_a_team_shares_models_and_experiments(tmp_path: Path, kind: Kind):
    author, colleague = make_stored(tmp_path), Stored(tmp_path / "colleague")
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    with serving(kind, tmp_path / "data") as server:
        (tmp_path / "home" / ".ssh" / "known_hosts").write_text(server.known_hosts)
        settings = {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), **server.environment}
        author.run("dvc", "remote", "add", "--default", "team", f"{server.url}/isaac-cartpole")
        for option, value in {"verify": "true", **server.options}.items():
            author.run("dvc", "remote", "modify", "team", option, value)
        author.commit("Remote")
        author.run("git", "clone", "--quiet", "--bare", ".", str(tmp_path / "origin"))
        author.run("git", "remote", "add", "origin", str(tmp_path / "origin"))
        author.run("git", "clone", "--quiet", str(tmp_path / "origin"), str(colleague.folder))

        author.run(*PUSH, check=True, **settings)
        colleague.run("dvc", "pull", check=True, **settings)
        assert colleague.files() == FILES
        assert "Running" not in colleague.run("dvc", "repro").stdout

        if kind == "s3":  # what follows is the same for both
            pipeline = author.folder / "dvc.yaml"
            pipeline.write_text(pipeline.read_text().replace("echo film", "echo another film"))
            author.run("dvc", "exp", "run", "--name", "better")
            author.run(*PUSH, "better", check=True, **settings)
            colleague.run("dvc", "exp", "pull", "origin", "better", check=True, **settings)
            colleague.run("dvc", "exp", "apply", "better")
            assert colleague.files() == FILES | {VIDEO: "another film\n"}


def test_in_a_shared_folder_the_group_can_write_beside_what_one_has_pushed(tmp_path: Path):
    author = make_stored(tmp_path)
    author.run("dvc", "remote", "add", "--default", "team", str(tmp_path / "storage"))
    author.run("dvc", "remote", "modify", "team", "shared", "group")
    author.run(*PUSH, check=True, PYTHONPATH=str(ROOT))
    folders = [folder for folder in (tmp_path / "storage").rglob("*") if folder.is_dir()]
    assert folders
    assert all(folder.stat().st_mode & 0o070 == 0o070 for folder in folders)

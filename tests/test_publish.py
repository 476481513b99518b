"""`make publish`: a version is tagged once everybody can get it, and else nothing looks published."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.stored import POLICY, Stored, copy_stored, damage, make_stored, run
from tools import publish

pytestmark = [pytest.mark.unit, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stored(tmp_path_factory.mktemp("made")).folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Stored:
    """A project with a Git remote, and with the tools that a fresh clone of it runs."""
    project = copy_stored(made, tmp_path)
    for name in ("tools", "pipeline"):
        shutil.copytree(ROOT / name, project.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project.folder / ".gitignore").write_text("__pycache__\n")
    project.commit("Tools")
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", tmp_path / "origin.git"], check=True)
    project.run("git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    project.run("git", "push", "--quiet", "origin", "main")
    return project


def tags(project: Stored) -> tuple[str, str]:
    """The tags here, and those in the Git remote."""
    return project.run("git", "tag").stdout, project.run("git", "ls-remote", "--tags", "origin").stdout


def test_a_published_version_can_be_had_by_all(project: Stored, tmp_path: Path):
    assert not run(publish.main, project, "v1.0.0")
    assert project.run("git", "tag").stdout == "policy@v1.0.0\n"
    message = project.run("git", "tag", "--list", "--format=%(contents)").stdout
    assert f"commit: {project.run('git', 'rev-parse', 'HEAD').stdout}" in message
    origin = str(tmp_path / "origin.git")
    project.run("dvc", "artifacts", "get", origin, "policy", "--rev", "v1.0.0", "--out", str(tmp_path / "got"))
    assert (tmp_path / "got" / "policy.safetensors").read_text() == "weights\n"
    assert "policy" in project.run("gto", "show").stdout
    project.run("gto", "assign", "policy", "--version", "v1.0.0", "--stage", "prod")
    assert "prod" in project.run("gto", "show").stdout


@pytest.mark.parametrize(
    ("version", "sentence"),
    [("", "say VERSION=v1.2.0"), ("1.0", "three numbers"), ("v1.0.0", "there is a policy@v1.0.0 already")],
)
def test_what_is_no_new_version_is_refused(project: Stored, version: str, sentence: str):
    project.run("git", "tag", "policy@v1.0.0")
    project.run("git", "push", "--quiet", "origin", "policy@v1.0.0")
    project.run("git", "tag", "--delete", "policy@v1.0.0")
    assert sentence in run(publish.main, project, version)
    assert not project.remote.exists()


def test_a_commit_is_one_version_and_versions_go_up(project: Stored):
    assert not run(publish.main, project, "v1.1.0")
    assert "this commit is v1.1.0 already" in run(publish.main, project, "v1.2.0")
    (project.folder / "notes.txt").write_text("mine")
    project.commit("Notes")
    project.run("git", "tag", "--delete", "policy@v1.1.0")  # as where nobody has fetched it
    assert "v1.0.9 comes before v1.1.0" in run(publish.main, project, "v1.0.9")
    assert not run(publish.main, project, "v1.10.0")
    assert "v1.9.0 comes before v1.10.0" in run(publish.main, project, "v1.9.0")
    assert "policy@v1.10.0" in project.run("gto", "show", "policy").stdout


def test_what_no_commit_has_and_what_is_stale_is_refused(project: Stored):
    (project.folder / "notes.txt").write_text("mine")
    assert "changes that no commit has (?? notes.txt)" in run(publish.main, project, "v1.0.0")
    (project.folder / "notes.txt").unlink()
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("echo film", "echo movie"))
    project.commit("Another film, not made yet")
    assert "render is not up to date" in run(publish.main, project, "v1.0.0")
    assert tags(project) == ("", "")


def test_what_a_stage_has_read_and_nobody_else_can_have_is_refused(project: Stored):
    (project.folder / "logs").mkdir()
    (project.folder / "logs" / "start").write_text("a policy\n")
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("  train:\n", "  train:\n    deps: [logs/start]\n"))
    (project.folder / ".gitignore").write_text("__pycache__\n/logs\n")
    project.run("dvc", "repro")
    project.commit("Another start")
    assert "neither Git nor DVC has logs/start, which a stage has read; copy it" in run(publish.main, project, "v1.0.0")
    shutil.copyfile(project.folder / "logs" / "start", project.folder / "start")
    project.run("dvc", "add", "--quiet", "start")
    pipeline.write_text(pipeline.read_text().replace("logs/start", "start"))
    project.run("dvc", "repro")
    project.commit("In DVC")
    assert not run(publish.main, project, "v1.0.0")


def test_nothing_is_tagged_if_the_remote_does_not_give_everything_back(project: Stored, monkeypatch):
    def push_badly(found, cache, remote):
        pushed(found, cache, remote)
        damage(project.object(project.remote, POLICY))

    pushed = publish.push
    monkeypatch.setattr(publish, "push", push_badly)
    assert "a fresh clone cannot pull: the remote storage" in run(publish.main, project, "v1.0.0")
    assert tags(project) == ("", "")


def test_nothing_is_tagged_if_git_does_not_take_the_tag(project: Stored, tmp_path: Path):
    hook = tmp_path / "origin.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho no more tags >&2\nexit 1\n")
    hook.chmod(0o755)
    assert "nothing is published: `git push` failed" in run(publish.main, project, "v1.0.0")
    assert tags(project) == ("", "")

"""``make tidy``: lists first, deletes when asked again, and keeps what anything names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.stored import CHECKPOINTS, Stored, copy_stored, damage, make_stored, run
from tools import push, tidy

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60)]

LAST_WEEK = 7 * 86400


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with films of a commit, a tag, a merge on no branch, an experiment, and the workspace."""
    project = make_stored(tmp_path_factory.mktemp("made"))
    project.run("git", "checkout", "--quiet", "-b", "gone")
    film(project, "of tag")
    project.commit("Tagged")
    project.run("git", "tag", "v1")
    project.run("git", "checkout", "--quiet", "main")
    project.run("git", "branch", "--quiet", "-D", "gone")
    project.run("git", "merge", "--quiet", "--no-commit", "--strategy", "ours", "v1")
    film(project, "of merge")
    project.commit("Merged, and run again")
    project.run("git", "tag", "merged")
    project.run("git", "reset", "--quiet", "--hard", "HEAD~1")
    film(project, "of experiment")
    project.run("dvc", "exp", "save", "--name", "better")
    film(project, "of workspace")
    return project.folder


def film(project: Stored, words: str) -> None:
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("echo film", f"echo {words}"))
    project.run("dvc", "repro", "render")
    project.run("git", "checkout", "--quiet", "dvc.yaml")


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Stored:
    """A copy of it, with an object that nothing names, a run's log and a stopped training, all of them old."""
    project = copy_stored(made, tmp_path)
    for path in ("logs/2020/events", ".resume/0123456789abcdef/100/policy", ".dvc/cache/files/md5/00/" + 30 * "0"):
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / path).write_text("old")
    age(project)
    return project


def age(project: Stored) -> None:
    for path in project.folder.rglob("*"):
        os.utime(path, (path.stat().st_atime - LAST_WEEK, path.stat().st_mtime - LAST_WEEK))


def objects(project: Stored) -> dict[str, str]:
    return {path.parent.name + path.name: path.read_text() for path in project.cache.glob("files/md5/*/*")}


def left(project: Stored) -> dict[str, bool]:
    return {
        "cache": 32 * "0" in objects(project),
        "logs": (project.folder / "logs" / "2020").exists(),
        ".resume": (project.folder / ".resume" / "0123456789abcdef").exists(),
    }


def test_it_lists_and_deletes_nothing_unless_asked_again(project: Stored, capsys):
    assert not run(tidy.main, project)
    assert left(project) == {"cache": True, "logs": True, ".resume": True}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["can", "go"], ["can", "go"]]
    assert "1 objects of DVC that no commit, tag or experiment of this repository names" in lines[0]
    assert "`make tidy DELETE=yes` deletes them" in lines[-1]
    assert not run(tidy.main, project, "logs")
    assert left(project) == {"cache": True, "logs": False, ".resume": True}
    assert not run(tidy.main, project, "yes")
    assert left(project) == {"cache": False, "logs": False, ".resume": False}


def test_what_a_tag_an_experiment_a_commit_or_the_workspace_names_stays(project: Stored):
    named = {digest: content for digest, content in objects(project).items() if digest != 32 * "0"}
    assert {"film\n", "of tag\n", "of merge\n", "of experiment\n", "of workspace\n", "early\n", "late\n"} < {
        *named.values()
    }
    assert not run(tidy.main, project, "yes")
    assert objects(project) == named
    project.run("dvc", "exp", "remove", "better")
    project.run("git", "tag", "--delete", "merged")
    assert not run(tidy.main, project, "yes")
    assert objects(project) == named, "Git's log of HEAD has the commits"
    project.run("git", "reflog", "expire", "--expire=now", "--all")
    assert not run(tidy.main, project, "yes")
    assert {*named.values()} - {*objects(project).values()} == {"of experiment\n", "of merge\n"}


def test_what_is_younger_than_a_day_stays(project: Stored):
    for path in project.folder.rglob("*"):
        os.utime(path)
    assert not run(tidy.main, project, "yes")
    assert left(project) == {"cache": True, "logs": True, ".resume": True}


def test_a_remote_and_a_cache_of_others_are_not_touched(project: Stored, tmp_path: Path, capsys):
    assert not run(push.main, project)
    stray = project.remote / "files" / "md5" / "00" / (30 * "0")
    stray.parent.mkdir()
    stray.write_text("of a colleague")
    shared = shutil.copytree(project.cache, tmp_path / "shared")
    project.run("dvc", "cache", "dir", "--local", str(shared))
    assert not run(tidy.main, project, "yes")
    assert stray.exists()
    assert (shared / "files" / "md5" / "00" / (30 * "0")).exists()
    assert "others may use that cache too" in capsys.readouterr().out


def test_nothing_is_deleted_while_a_list_of_files_cannot_be_read(project: Stored):
    damage(project.object(project.cache, CHECKPOINTS))
    before = objects(project)
    assert "first `make fsck REPAIR=yes`" in run(tidy.main, project, "yes")
    assert objects(project) == before


def test_without_git_nothing_is_known_and_nothing_deleted(project: Stored):
    shutil.rmtree(project.folder / ".git")
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    assert "Git cannot tell" in run(tidy.main, project, "yes")
    assert left(project)["cache"]

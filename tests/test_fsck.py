"""``make fsck``: what is missing or damaged in the cache or the remote is named, and repaired from the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.stored import CHECKPOINTS, POLICY, VIDEO, Stored, copy_stored, damage, make_stored, run
from tools import fsck, push

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60)]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with another film at its tag v1."""
    project = make_stored(tmp_path_factory.mktemp("made"))
    project.run("git", "tag", "v1")
    change_film(project, "film of v2")
    project.commit("Another film")
    return project.folder


def change_film(project: Stored, words: str) -> None:
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("echo film", f"echo {words}"))
    project.run("dvc", "repro")


@pytest.fixture
def author(made: Path, tmp_path: Path) -> Stored:
    """A copy of it, of which the newest commit alone is pushed."""
    project = copy_stored(made, tmp_path)
    assert not run(push.main, project)
    return project


@pytest.fixture
def whole(author: Stored) -> Stored:
    """The same, with everything pushed."""
    assert not run(fsck.main, author, "--repair")
    return author


def test_a_tag_whose_push_was_forgotten_is_named_and_repaired(author: Stored, capsys):
    assert "`make fsck REPAIR=yes`" in run(fsck.main, author)
    assert f"missing  in the remote storage ({author.remote}): {VIDEO} of v1\n" in capsys.readouterr().out
    assert run(fsck.main, author), "nothing was repaired without being asked"
    assert not run(fsck.main, author, "--repair")
    assert capsys.readouterr().out.splitlines()[-1] == "fsck: all 7 objects are whole"


def test_a_clone_that_has_pulled_nothing_has_nothing_to_repair(whole: Stored, capsys):
    clone = whole.fresh_clone()
    assert not run(fsck.main, clone)
    assert "missing" not in capsys.readouterr().out
    assert not run(fsck.main, clone, "--repair")
    assert not [*clone.cache.rglob("files/*/*/*")], "and fetches nothing"


@pytest.mark.parametrize("path", [POLICY, CHECKPOINTS])
@pytest.mark.parametrize("store", ["cache", "remote"])
def test_damage_is_named_with_its_revisions_and_repaired_from_the_other(whole: Stored, path: str, store: str, capsys):
    shutil.rmtree(whole.folder / "models")
    damage(whole.object(getattr(whole, store), path))
    assert "1 of 7 objects are broken" in run(fsck.main, whole)
    named = [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged  in the")]
    assert {line.split(": ")[1] for line in named} == {f"{path} of workspace, v1"}
    assert all(store in line for line in named)
    assert not run(fsck.main, whole, "--repair")
    assert not run(fsck.main, whole)


def test_what_nobody_has_whole_stays_broken_and_the_rest_is_repaired(whole: Stored, capsys):
    shutil.rmtree(whole.folder / "models")
    damage(whole.object(whole.cache, POLICY))
    whole.object(whole.remote, POLICY).unlink()
    damage(whole.object(whole.remote, VIDEO))
    assert "1 of 7 objects are broken; the machine that made them" in run(fsck.main, whole, "--repair")
    assert f"missing  in the cache: {POLICY} of workspace, v1" in capsys.readouterr().out
    whole.run("dvc", "repro")
    assert not run(fsck.main, whole, "--repair"), "it was made again, as the last sentence has it"


def test_a_damaged_cache_is_told_without_a_remote(author: Stored, capsys):
    shutil.rmtree(author.remote)
    assert not run(fsck.main, author)
    damage(author.object(author.cache, POLICY))
    assert "1 of 7 objects are broken" in run(fsck.main, author)
    assert "that this machine does not have: the cache alone is read" in capsys.readouterr().out
    assert not run(fsck.main, author, "--repair"), "the workspace has it"


def test_experiments_are_read_where_asked(whole: Stored, capsys):
    change_film(whole, "film of v3")
    whole.run("dvc", "exp", "save", "--name", "better")
    whole.run("git", "checkout", "--quiet", ".")
    assert not run(fsck.main, whole)
    assert run(fsck.main, whole, "better")
    assert f"{VIDEO} of better" in capsys.readouterr().out
    assert not run(fsck.main, whole, "better", "--repair")


def test_a_tag_that_dvc_cannot_read_is_named_and_left_out(whole: Stored, capsys):
    whole.run("git", "checkout", "--quiet", "--detach")
    (whole.folder / "dvc.yaml").write_text("stages: {")
    whole.commit("Broken")
    whole.run("git", "tag", "broken")
    whole.run("git", "checkout", "--quiet", "main")
    assert not run(fsck.main, whole)
    assert "left out: DVC cannot read broken" in capsys.readouterr().out

"""`make record`: it names each output that moved, and adds nothing to the commit unless that was meant."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project
from tools import record

pytestmark = pytest.mark.unit


def lock(**stages: dict[str, str]) -> str:
    """The text of a dvc.lock whose stages have these outputs."""
    outs = {name: {"outs": [{"path": path, "md5": md5} for path, md5 in made.items()]} for name, made in stages.items()}
    return json.dumps({"schema": "2.0", "stages": {"check": {"cmd": "check"}, **outs}})


BEFORE = lock(train={"models/policy": "1", "metrics/train.json": "2"}, render={"videos/film": "3"})


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        (BEFORE, []),
        (lock(train={"models/policy": "1"}, render={"videos/film": "3", "metrics/train.json": "2"}), []),
        (
            lock(train={"models/policy": "9", "metrics/train.json": "2"}, render={"videos/film": "3"}),
            ["moved", "policy"],
        ),
        (lock(train={"models/policy": "1", "metrics/train.json": "2"}), ["gone", "film"]),
        (BEFORE.replace('"videos/film", ', '"videos/clip", '), ["new", "clip", "gone", "film"]),
    ],
    ids=["the same", "of another stage", "other bytes", "no more", "renamed"],
)
def test_names_each_output_that_is_not_as_before_and_how(after: str, moved: list[str]):
    found = record.moved_outputs(BEFORE, after)
    assert [word for line in found for word in (line.split()[0], line.rpartition("/")[2])] == moved


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository whose last commit has the results BEFORE; a stage's code and a metric have changed since."""
    project = Project(tmp_path)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@localhost")
    (tmp_path / "metrics").mkdir()
    for name in ("dvc.lock", "metrics/train.json", "code.py"):
        (tmp_path / name).write_text(BEFORE)
    project.commit("Results")
    for name in ("metrics/train.json", "code.py"):
        (tmp_path / name).write_text("changed")
    monkeypatch.chdir(tmp_path)
    return project


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["record", *arguments])
    record.main()


def staged(project: Project) -> list[str]:
    return project.run("git", "diff", "--cached", "--name-only").stdout.split()


def test_results_go_into_the_next_commit_and_code_stays_for_its_author_to_add(
    here: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    (here.folder / "dvc.lock").write_text(BEFORE + "\n")  # the digest of a dependency, say
    run(monkeypatch)
    assert staged(here) == ["dvc.lock", "metrics/train.json"]
    assert capfd.readouterr().out.startswith("no output has moved\nadded to the commit at hand")


def test_outputs_that_moved_are_named_and_not_added_until_that_is_meant(
    here: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    after = BEFORE.replace('"1"', '"9"')
    (here.folder / "dvc.lock").write_text(after)
    with pytest.raises(SystemExit, match=r"nothing is added to the commit.*make record ARGS=--moved"):
        run(monkeypatch)
    assert capfd.readouterr().out == "moved  models/policy\n"
    assert not staged(here)
    assert (here.folder / "dvc.lock").read_text() == after, "the results stay in the workspace"
    run(monkeypatch, "--moved")
    assert capfd.readouterr().out.startswith("moved  models/policy\n")
    assert staged(here) == ["dvc.lock", "metrics/train.json"]


def test_a_failed_run_adds_nothing_and_only_the_last_command_takes_the_arguments(tmp_path: Path):
    bin_ = tmp_path / ".venv" / "bin"
    bin_.mkdir(parents=True)
    for program in ("python", "dvc"):
        (bin_ / program).write_text('#!/bin/sh\necho "${0##*/} $*" >>asked\n[ "${0##*/}" != "$FAILS" ]\n')
        (bin_ / program).chmod(0o755)
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    make = ("make", "--old-file=setup", "record", "ARGS=--moved")
    steps = ["python -m tools.mend", "dvc repro", "python -m tools.summary", "python -m tools.record --moved"]
    Project(tmp_path).run(*make)
    assert (tmp_path / "asked").read_text().splitlines() == steps
    (tmp_path / "asked").unlink()
    assert Project(tmp_path).run(*make, check=False, FAILS="dvc").returncode == 2
    assert (tmp_path / "asked").read_text().splitlines() == steps[:2]

"""`make get`: a version's model comes whole, from here or from elsewhere, or what was there stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.experiment.errors import UserError
from tests.conftest import ENVIRONMENT, ROOT
from tests.stored import CHECKPOINTS, POLICY, Stored, copy_stored, damage, make_stored, run
from tools import delivery, get, push
from tools.delivery import beside, put_in_place

pytestmark = [pytest.mark.unit, pytest.mark.timeout(120)]

FIRST = {
    "policy.safetensors": "weights\n",
    "policy.json": "{}\n",
    "checkpoints/100": "early\n",
    "checkpoints/200": "late\n",
}
SECOND = FIRST | {"policy.safetensors": "other weights\n", "checkpoints/100": "earlier\n"}
VERSIONS = {"v1.0.0": FIRST, "v2.0.0": SECOND}


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A project with two versions of its model, both pushed."""
    made = make_stored(tmp_path_factory.mktemp("made"))
    project = copy_stored(made.folder, tmp_path_factory.mktemp("released"))
    project.run("git", "tag", "-a", "policy@v1.0.0", "-m", "First")
    assert not run(push.main, project)
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("echo weights", "echo other weights").replace("early", "earlier"))
    project.run("dvc", "repro")
    project.commit("Second")
    project.run("git", "tag", "-a", "policy@v2.0.0", "-m", "Second")
    assert not run(push.main, project)
    return project


@pytest.fixture(scope="module")
def colleague(author: Stored) -> Stored:
    """A fresh clone: its cache stays empty."""
    return author.fresh_clone()


def fetch(project: Stored, version: str, target: Path, *more: str) -> str:
    return run(get.main, project, "--version", version, "--to", str(target), *more)


def files(folder: Path) -> dict[str, str]:
    """The files of a model, without what says where it comes from."""
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name not in get.LINEAGE}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["cache", "remote", "path", "url"])
def test_a_version_comes_whole_from_wherever_it_is(author: Stored, colleague: Stored, place, version, tmp_path: Path):
    source = {"path": ["--from", str(author.folder)], "url": ["--from", f"file://{author.folder}"]}.get(place, [])
    assert not fetch(author if place == "cache" else colleague, version, tmp_path / "new" / "model", *source)
    assert files(tmp_path / "new" / "model") == VERSIONS[version]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    assert not (colleague.folder / ".dvc" / "cache" / "files").exists()


def test_what_was_there_is_replaced_with_nothing_left_of_it(author: Stored, tmp_path: Path):
    shutil.copytree(author.folder / "models", tmp_path / "model", ignore=shutil.ignore_patterns(".gitignore"))
    (tmp_path / "model" / "checkpoints" / "50").touch()
    assert not fetch(author, "v1.0.0", tmp_path / "model")
    assert files(tmp_path / "model") == FIRST
    assert (tmp_path / "model" / "COMMIT").read_text() == author.run("git", "rev-parse", "policy@v1.0.0^{}").stdout
    lock = author.run("git", "show", "policy@v1.0.0:dvc.lock").stdout
    assert (tmp_path / "model" / "dvc.lock").read_text() == lock
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(("version", "expected"), [("HEAD", SECOND), ("main", SECOND), ("policy@v1.0.0", FIRST)])
def test_a_revision_is_as_good_as_a_version(colleague: Stored, version, expected, tmp_path: Path):
    assert not fetch(colleague, version, tmp_path / "model")
    assert files(tmp_path / "model") == expected


def test_a_version_that_is_older_than_the_remote_comes_from_it(author: Stored, colleague: Stored, tmp_path: Path):
    source = ["--from", f"file://{author.folder}"]
    assert not fetch(colleague, "policy@v1.0.0~1", tmp_path / "model", *source)
    assert files(tmp_path / "model") == FIRST


@pytest.mark.parametrize("path", [POLICY, CHECKPOINTS])
def test_what_is_damaged_here_comes_from_the_remote(author: Stored, path: str, tmp_path: Path):
    damaged = author.object(author.cache, path)
    damage(damaged)
    try:
        assert not fetch(author, "v2.0.0", tmp_path / "model")
    finally:
        damage(damaged)  # which restores it
    assert files(tmp_path / "model") == SECOND


@pytest.mark.parametrize("path", [POLICY, CHECKPOINTS])
@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_what_the_remote_has_not_whole_is_named_and_the_old_model_stays(
    author: Stored, colleague: Stored, path: str, fault: str, tmp_path: Path
):
    assert not fetch(colleague, "v1.0.0", tmp_path / "model")
    stored, aside = author.object(author.remote, path), tmp_path / "aside"
    if fault == "damaged":
        damage(stored)
    else:
        stored.rename(aside)
    try:
        said = fetch(colleague, "v2.0.0", tmp_path / "model")
    finally:
        if fault == "damaged":
            damage(stored)
        else:
            aside.rename(stored)
    assert f"cannot give {path} ({fault})" in said
    assert files(tmp_path / "model") == FIRST
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--version", "v3", "--to", "new"], "get: VERSION: there is no v3; the versions are v1.0.0, v2.0.0"),
        (["--version", "v1.0.0"], "get: say VERSION=v1.0.0 TO=<a folder>"),
        (["--version", "v1.0.0", "--to", "dvc.yaml"], "/dvc.yaml is no folder"),
        (["--version", "v1.0.0", "--to", "."], " has .dvc, which is no part of that model"),
        (["--version", "v1.0.0", "--to", "models"], " has .gitignore, which is no part of that model"),
        (["--version", "v1.0.0", "--to", "new", "--from", "/nowhere"], "get: FROM: fatal: '/nowhere' does not appear"),
        (["--version", "v1.0.0", "--to", "new", "--from", "http://127.0.0.1:9/"], "get: FROM: fatal: unable to access"),
        (["--version", "v1.0.0", "--to", "/proc/new"], "get: /proc/new: [Errno 2]"),
    ],
)
def test_what_cannot_be_ends_in_a_sentence(colleague: Stored, arguments: list[str], sentence: str):
    assert sentence in run(get.main, colleague, *arguments)
    assert not (colleague.folder / "new").exists()


def test_a_remote_that_this_machine_does_not_have_is_said_to_be_so(author: Stored, colleague: Stored, tmp_path: Path):
    author.remote.rename(tmp_path / "away")
    try:
        said = fetch(colleague, "v1.0.0", tmp_path / "model")
    finally:
        (tmp_path / "away").rename(author.remote)
    assert said.startswith("this repository's models are not published")


def test_a_repository_without_a_model_is_named(author: Stored, tmp_path: Path):
    clone = Stored(shutil.copytree(author.folder, tmp_path / "clone"))
    pipeline = clone.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("policy: {", "film: {"))
    clone.commit("No model")
    assert fetch(clone, "HEAD", tmp_path / "model") == "get: dvc.yaml of HEAD has no artifact policy"


# Stopped in between

# Gets the other version again and again, in a child that is killed a step later each time: steps change the disk.
KILLED_AT_ANY_STEP = """
import os, signal, sys
from pathlib import Path
from tools import get

STEPS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree")
target, step, outcomes = Path(sys.argv[1]), 1, set()

def count(event, arguments, steps=[]):
    what = str(arguments)
    if event in STEPS and (str(target.parent) in what or "/" not in what):  # without: of a folder that is being removed
        steps.append(event)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

def content():
    found = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name not in get.LINEAGE}

def fetch(version):
    sys.argv = ["get", "--version", version, "--to", str(target)]
    get.main()

fetch("v1.0.0")
first = content()
fetch("v2.0.0")
second = content()
killed = True
while killed:
    before = content()
    child = os.fork()
    if not child:
        sys.addaudithook(count)
        fetch("v1.0.0" if before == second else "v2.0.0")
        os._exit(0)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    after = content()
    assert after in (first, second), (step, after)
    outcomes.add(after == before)
    step += 5 if step < 30 else 1  # until then it downloads
assert outcomes == {True, False}, "killed before the exchange, and after it"
assert [path.name for path in target.parent.iterdir()] == [target.name], "the last run removes what those before left"
print(step)
"""


def test_killed_at_any_step_the_old_model_or_the_new_one_is_there(author: Stored, tmp_path: Path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED_AT_ANY_STEP, str(tmp_path / "model")]
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=author.folder, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 40


def test_what_another_process_is_about_to_deliver_is_left_alone(tmp_path: Path):
    with beside(tmp_path / "model") as first:
        (first / "file").touch()
        with beside(tmp_path / "model") as second:
            put_in_place(second, tmp_path / "model")
        assert (first / "file").exists()
        put_in_place(first, tmp_path / "model")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "file"]


def test_where_folders_cannot_be_exchanged_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(delivery, "RENAME_EXCHANGE", 1 << 20)  # unknown to any file system
    with beside(tmp_path / "model") as folder:
        (folder / "file").touch()
        with pytest.raises(UserError, match="Invalid argument; move that away, and run the same again"):
            put_in_place(folder, tmp_path / "model")
    assert [path.name for path in tmp_path.rglob("*")] == ["model"]

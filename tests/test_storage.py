"""``make pull`` and ``make push`` with a folder as remote: no damaged byte passes, and each failure is one sentence."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, ROOT
from tests.stored import CHECKPOINTS, FILES, POLICY, VIDEO, Stored, copy_stored, damage, make_stored, run
from tools import pull, push

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60)]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose outputs are made, and not pushed."""
    return make_stored(tmp_path_factory.mktemp("made")).folder


@pytest.fixture
def author(made: Path, tmp_path: Path) -> Stored:
    """A copy of it."""
    return copy_stored(made, tmp_path)


@pytest.fixture
def colleague(author: Stored) -> Stored:
    """A fresh clone, after the author has pushed."""
    assert not run(push.main, author)
    return author.fresh_clone()


def test_what_is_pushed_comes_to_a_fresh_clone_and_nothing_is_left_to_run(colleague: Stored, capsys):
    assert not run(pull.main, colleague)
    assert colleague.files() == FILES
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("files: 5, each byte as dvc.lock has it; objects that came from the remote storage")
    assert "Running" not in colleague.run("dvc", "repro").stdout


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["models"], {*FILES} - {VIDEO}),
        (["policy"], {*FILES} - {VIDEO}),
        ([POLICY], {POLICY}),
        (["./videos/"], {VIDEO}),
        (["render"], {VIDEO}),
        ([CHECKPOINTS], {f"{CHECKPOINTS}/100", f"{CHECKPOINTS}/200"}),
        ([f"{CHECKPOINTS}/100", VIDEO], {f"{CHECKPOINTS}/100", VIDEO}),
    ],
    ids=["folder", "artifact", "file", "./ and /", "stage", "output of files", "two, one in an output"],
)
def test_pull_takes_what_people_call_the_outputs(colleague: Stored, names: list[str], files: set[str]):
    assert not run(pull.main, colleague, *names)
    assert {*colleague.files()} == files
    if any(CHECKPOINTS in file for file in files):
        assert colleague.object(colleague.cache, CHECKPOINTS).exists(), "DVC itself has nothing to fetch"


def test_a_name_that_nothing_has_gets_the_nearest(colleague: Stored):
    assert run(pull.main, colleague, "cartpole-policy", "x") == (
        "DVC keeps no output cartpole-policy (metrics are in Git); there are models, models/checkpoints, "
        "models/checkpoints/100, models/checkpoints/200, models/policy.json, models/policy.safetensors, policy, "
        "render, train, videos, videos/policy.mp4"
    )
    assert run(pull.main, colleague, "model").endswith("did you mean models?")


def test_a_clone_without_the_folder_of_the_remote_is_told_that_nothing_is_published(author: Stored):
    clone = author.fresh_clone()
    said = run(pull.main, clone)
    assert said.startswith("this repository's models are not published: the remote storage (")
    assert said.endswith("is a folder that this machine does not have; `make repro` makes them")
    clone.run("dvc", "repro")
    assert not run(pull.main, clone), "nothing is asked of a remote"


@pytest.mark.parametrize("path", [POLICY, CHECKPOINTS])
def test_what_is_damaged_here_is_fetched_again(colleague: Stored, path: str):
    assert not run(pull.main, colleague)
    damage(colleague.object(colleague.cache, path))
    for file in ([colleague.folder / path], [*(colleague.folder / path).glob("*")])[path == CHECKPOINTS]:
        damage(file)
    assert colleague.files() != FILES
    assert not run(pull.main, colleague)
    assert colleague.files() == FILES


@pytest.mark.parametrize("path", [POLICY, CHECKPOINTS])
@pytest.mark.parametrize("lose", [damage, Path.unlink])
def test_what_the_remote_cannot_give_is_named_and_never_handed_out(colleague: Stored, path: str, lose):
    lose(colleague.object(colleague.remote, path))
    state = "damaged" if lose is damage else "missing"
    assert f"cannot give {path} ({state}); `make push`" in run(pull.main, colleague)
    assert not colleague.files()
    assert not colleague.object(colleague.cache, path).exists()
    assert not run(pull.main, colleague, VIDEO), "the rest can be had"


def test_a_damaged_model_is_made_anew_where_no_remote_has_it(author: Stored):
    damage(author.object(author.cache, POLICY))
    damage(author.folder / POLICY)
    assert "are not published" in run(pull.main, author)
    author.run("dvc", "repro")
    assert author.files() == FILES


def test_pull_keeps_the_changes_of_a_file_and_says_so(colleague: Stored):
    assert not run(pull.main, colleague)
    (colleague.folder / POLICY).write_text("my own")
    said = run(pull.main, colleague)
    assert POLICY in said
    assert "`dvc checkout --force`" in said
    assert colleague.files()[POLICY] == "my own"


@pytest.mark.parametrize("path", [POLICY, CHECKPOINTS])
@pytest.mark.parametrize("lose", [damage, Path.unlink])
def test_push_mends_the_remote_and_spreads_no_damage(author: Stored, path: str, lose):
    assert not run(push.main, author)
    lose(author.object(author.remote, path))
    assert not run(push.main, author)
    assert not run(pull.main, author.fresh_clone())
    damage(author.object(author.remote, path))
    damage(author.object(author.cache, path))
    assert not run(push.main, author), "the workspace has it"
    shutil.rmtree(author.folder / Path(path).parts[0])
    damage(author.object(author.remote, path))
    damage(author.object(author.cache, path))
    assert f"{path} of workspace (missing)" in run(push.main, author)


def test_push_of_nothing_is_not_ok(author: Stored):
    clone = author.fresh_clone()
    said = run(push.main, clone)
    assert said.startswith("the cache cannot give models/")
    assert all(path in said for path in (POLICY, VIDEO, CHECKPOINTS))
    (clone.folder / "dvc.lock").unlink()
    assert "nothing was pushed" in run(push.main, clone)


def test_no_list_of_a_folder_is_pushed_without_its_files(author: Stored):
    shutil.rmtree(author.folder / CHECKPOINTS)
    list_of_files = author.object(author.cache, CHECKPOINTS)
    for name in author.cache.glob("files/md5/*/*"):
        if name.read_bytes() == b"late\n":
            name.unlink()
    assert f"{CHECKPOINTS}/200 of workspace (missing)" in run(push.main, author)
    assert list_of_files.exists()
    assert not author.object(author.remote, CHECKPOINTS).exists()


def test_an_experiment_is_pushed_with_its_outputs(author: Stored, tmp_path: Path):
    author.run("git", "clone", "--quiet", "--bare", str(author.folder), str(tmp_path / "origin"))
    author.run("git", "remote", "add", "origin", str(tmp_path / "origin"))
    pipeline = author.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("echo film", "echo other"))
    author.run("dvc", "exp", "run", "--name", "better")
    author.run("git", "checkout", "--quiet", ".")
    shutil.rmtree(author.folder / "videos")
    assert not run(push.main, author, "better")
    clone = Stored(tmp_path / "colleague")
    author.run("git", "clone", "--quiet", str(tmp_path / "origin"), str(clone.folder))
    clone.run("dvc", "exp", "pull", "origin", "better")
    clone.run("dvc", "exp", "apply", "better")
    assert clone.files()[VIDEO] == "other\n"
    assert "no-such" in run(push.main, author, "no-such")


def test_a_remote_that_cannot_be_written_gets_a_sentence(author: Stored):
    author.remote.write_text("a file where the folder should be")
    assert run(push.main, author).startswith(f"the remote storage ({author.remote}) cannot be reached")


@pytest.mark.parametrize("url", ["s3://bucket/models", "ssh://127.0.0.1/models"])
def test_a_server_that_never_answers_ends_the_wait(author: Stored, url: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        option = ("endpointurl", f"http://127.0.0.1:{port}") if url.startswith("s3") else ("port", str(port))
        author.run("dvc", "remote", "add", "--local", "team", url)
        author.run("dvc", "remote", "modify", "--local", "team", *option)
        author.run("dvc", "remote", "default", "--local", "team")
        code = "from tools.storage import patience; patience.PATIENCE = 2; from tools import push; push.main()"
        keys = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "PYTHONPATH": str(ROOT)}
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=author.folder,
            env=ENVIRONMENT | keys,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith(f"the remote team ({url}) has not answered for 2 seconds; run the same again")
    assert result.stderr.count("\n") == 1

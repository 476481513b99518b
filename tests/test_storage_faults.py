"""``make pull``, ``push`` and ``fsck`` with real servers that fail: one sentence; the same command completes later."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem
from sshfs import SSHFileSystem

from tests.conftest import ROOT
from tests.servers import Fault, Kind, Server, free_port, make_key, serving
from tests.stored import POLICY, Stored, copy_stored, make_stored, run
from tools import fsck, pull, push

pytestmark = [pytest.mark.unit, pytest.mark.slow, pytest.mark.timeout(60)]

WEIGHTS = random.Random(1).randbytes(100_000)  # more than fits into one packet
DIGEST = hashlib.md5(WEIGHTS).hexdigest()
PUBLISHED = "published"  # the folder at the server that has all outputs; tests do not change it


class Team:
    """Two who use one server.

    Args:
        folder: For their files.
        made: A project with its outputs.
        server: Their remote is its folder ``published``.
    """

    def __init__(self, folder: Path, made: Path, server: Server) -> None:
        self.server, self.home = server, folder / "home"
        self.author = copy_stored(made, folder)  # has all outputs
        self.colleague = self.author.fresh_clone()  # has none
        self.known_hosts = self.home / ".ssh" / "known_hosts"
        self.known_hosts.parent.mkdir(parents=True)
        self.known_hosts.write_text(server.known_hosts)
        # Botocore tries five times, and s3fs, which calls it, five times again.
        self.environment = {"HOME": str(self.home), "SSH_AUTH_SOCK": "", "AWS_MAX_ATTEMPTS": "1", **server.environment}
        self.use(PUBLISHED)

    def use(self, name: str, **options: str | None) -> None:
        """Have another folder of the server for the remote, or other options."""
        for project in (self.author, self.colleague):
            self.server.serve(project, name, **options)

    def run(self, main: Callable[[], None], project: Stored, *arguments: str, **environment: str) -> str:
        """Run a command; returns the sentence with which it fails, or an empty text."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.environment | environment).items():
                patch.setenv(name, value)
            for file_system in (S3FileSystem, SSHFileSystem):  # as in a new process: no connection is left
                file_system.clear_instance_cache()
            return run(main, project, *arguments)

    def run_impatiently(self, main: Callable[[], None], project: Stored) -> str:
        """Run a command in a process of its own, which waits 3 seconds for the server."""
        code = f"from tools.storage import patience; patience.PATIENCE = 3; from {main.__module__} import main; main()"
        result = project.run(sys.executable, "-c", code, check=False, PYTHONPATH=str(ROOT), **self.environment)
        assert result.returncode == bool(result.stderr)
        assert result.stderr.count("\n") <= 1, f"one sentence:\n{result.stderr}"
        return result.stderr


def has_policy(project: Stored) -> bool:
    """Tell whether the policy is there; fail if it is another."""
    policy = project.folder / POLICY
    assert not policy.exists() or policy.read_bytes() == WEIGHTS
    return policy.exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose outputs are made, the policy among them of a size."""
    project = make_stored(tmp_path_factory.mktemp("made"))
    (project.folder / POLICY).unlink()
    (project.folder / POLICY).write_bytes(WEIGHTS)
    project.run("dvc", "commit", "--force")
    project.commit("A larger policy")
    return project.folder


@pytest.fixture(scope="module", params=["s3", "ssh"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[Server]:
    """A server that has all outputs in its folder ``published``."""
    with serving(request.param, tmp_path_factory.mktemp("server")) as server:
        team = Team(tmp_path_factory.mktemp("first"), made, server)
        assert not team.run(push.main, team.author)
        yield server


@pytest.fixture
def team(made: Path, server: Server, tmp_path: Path) -> Iterator[Team]:
    """Two who use it."""
    yield Team(tmp_path, made, server)
    server.proxy.mend()


MIDDLE = 60_000  # bytes, of all that is said in a connection
BREAKS = [
    (push.main, "cut", MIDDLE),
    (push.main, "stall", MIDDLE),
    (push.main, "garbage", 0),
    (pull.main, "cut", MIDDLE),
    (pull.main, "stall", MIDDLE),
    (pull.main, "garbage", MIDDLE),
    (fsck.main, "stall", MIDDLE),
]


@pytest.mark.parametrize(("main", "fault", "after"), BREAKS, ids=[f"{m.__module__[6:]}-{f}-{n}" for m, f, n in BREAKS])
def test_after_a_connection_that_broke_the_same_command_completes(
    team: Team, tmp_path: Path, main: Callable[[], None], fault: Fault, after: int
):
    project = team.colleague if main is pull.main else team.author
    if main is push.main:
        team.use(tmp_path.name)
    team.server.proxy.break_down(fault, after=after)
    said = (team.run_impatiently if fault == "stall" else team.run)(main, project)
    assert said.startswith("the remote team ")
    assert "run the same again" in said
    team.server.proxy.mend()
    assert not team.run(main, project)
    if main is not fsck.main:
        assert not team.run(pull.main, team.colleague)
        assert has_policy(team.colleague)


def test_a_server_that_is_off_cannot_be_reached(team: Team):
    port = str(free_port())
    team.use(
        PUBLISHED, **{"port": port} if "port" in team.server.options else {"endpointurl": f"http://127.0.0.1:{port}"}
    )
    said = team.run(pull.main, team.colleague)
    assert said.startswith("the remote team ")
    assert "cannot be reached" in said


@pytest.mark.parametrize("credentials", ["none", "wrong"])
def test_who_is_not_let_in_learns_how_to_log_in(team: Team, tmp_path: Path, credentials: str):
    if "keyfile" in team.server.options:
        make_key(tmp_path / "wrong")
        team.use(PUBLISHED, keyfile=str(tmp_path / "wrong") if credentials == "wrong" else None)
    given = dict.fromkeys(team.server.environment, "wrong" if credentials == "wrong" else "")
    for main, project in ((push.main, team.author), (pull.main, team.colleague)):
        said = team.run(main, project, **given)
        assert said.startswith("the remote team ")
        assert "`ssh-add`" in said
        assert "AWS_SECRET_ACCESS_KEY" in said


@pytest.mark.parametrize("server", ["ssh"], indirect=True)
def test_a_key_that_is_no_file_is_named(team: Team):
    team.use(PUBLISHED, keyfile="/no/such/key")
    said = team.run(pull.main, team.colleague)
    assert said.startswith("there is no key /no/such/key")


@pytest.mark.parametrize("kind", ["s3", "ssh"])
def test_a_server_that_was_full_takes_the_rest_once_it_has_room(made: Path, tmp_path: Path, kind: Kind):
    for folder in ("data", "before", "after"):
        (tmp_path / folder).mkdir()
    with serving(kind, tmp_path / "data", full=True) as server:
        team = Team(tmp_path / "before", made, server)
        said = team.run(push.main, team.author)
        assert said.startswith("the remote team ")
        assert "full" in said
    with serving(kind, tmp_path / "data") as server:
        team = Team(tmp_path / "after", made, server)
        assert not team.run(push.main, team.author)
        assert not team.run(pull.main, team.colleague)
        assert has_policy(team.colleague)


@pytest.mark.parametrize(("fault", "mend"), [("missing", "push"), ("damaged", "push"), ("damaged", "fsck")])
def test_an_object_that_is_lost_or_damaged_is_named_and_can_be_mended(
    team: Team, tmp_path: Path, fault: str, mend: str
):
    team.use(tmp_path.name)
    assert not team.run(push.main, team.author)
    if fault == "damaged":
        team.server.damage(tmp_path.name, DIGEST)
    else:
        team.server.files.rm_file(team.server.path(tmp_path.name, DIGEST))
    said = team.run(pull.main, team.colleague)
    assert f"{POLICY} ({fault})" in said
    assert not has_policy(team.colleague)
    assert team.run(fsck.main, team.author).startswith("fsck: 1 of 6 objects are broken")
    assert not (team.run(fsck.main, team.author, "--repair") if mend == "fsck" else team.run(push.main, team.author))
    assert not team.run(pull.main, team.colleague)
    assert has_policy(team.colleague)


def test_two_people_push_at_once(team: Team, made: Path, tmp_path: Path):
    (tmp_path / "second").mkdir()
    second = copy_stored(made, tmp_path / "second")
    team.use(tmp_path.name)
    team.server.serve(second, tmp_path.name)
    command = [sys.executable, "-m", "tools.push"]
    both = [
        each.start(*command, start_new_session=False, PYTHONPATH=str(ROOT), **team.environment)
        for each in (team.author, second)
    ]
    assert all("each byte compared" in each.communicate()[0] for each in both)
    assert not team.run(pull.main, team.colleague)
    assert has_policy(team.colleague)


@pytest.mark.parametrize("server", ["ssh"], indirect=True)
@pytest.mark.parametrize("known", ["another", "none"])
def test_a_host_with_another_key_than_the_known_one_gets_nothing(team: Team, tmp_path: Path, known: str):
    make_key(tmp_path / "other")
    host = team.server.known_hosts.split()[0]
    team.known_hosts.write_text(f"{host} {(tmp_path / 'other.pub').read_text()}" if known == "another" else "")
    for main, project in ((push.main, team.author), (pull.main, team.colleague)):
        said = team.run(main, project)
        assert "host key that ~/.ssh/known_hosts does not have" in said
    team.known_hosts.write_text(team.server.known_hosts)
    assert not team.run(pull.main, team.colleague)
    assert has_policy(team.colleague)

"""Real servers on this machine for tests of remotes: MinIO's S3, OpenSSH's sshd, and a proxy that breaks them."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

from tests.conftest import Project, wait_until

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret-of-someone"}
JUICEFS = str(Path(sys.executable).parent / "juicefs")
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")

Kind = Literal["s3", "ssh"]
Fault = Literal["cut", "stall", "garbage"]


@dataclass(frozen=True)
class Server:
    """A server behind a proxy, with what a project needs to have it for its remote."""

    proxy: Proxy
    url: str  # of the folder in which each project has a folder of its own
    options: dict[str, str]  # of the remote, beside its URL
    environment: dict[str, str]  # the credentials
    files: AbstractFileSystem  # the same folder, past DVC and the proxy
    root: str
    known_hosts: str = ""  # of SSH: the line that says which host it is

    def serve(self, project: Project, name: str, **options: str | None) -> None:
        """Make the folder ``name`` the default remote of ``project``, with ``options`` in place of the server's own."""
        settings = {"url": f"{self.url}/{name}", **self.options, **options}
        lines = ["[core]", "remote = team", "['remote \"team\"']"]
        lines += [f"{key} = {value}" for key, value in settings.items() if value]
        (project.folder / ".dvc" / "config.local").write_text("\n".join(lines))

    def path(self, name: str, digest: str) -> str:
        """Return where an object of the project ``name`` is in ``files``."""
        return f"{self.root}/{name}/files/md5/{digest[:2]}/{digest[2:]}"

    def damage(self, name: str, digest: str) -> None:
        """Let the first 512 bytes of an object be zeros."""
        path = self.path(name, digest)
        content = bytes(512) + self.files.read_block(path, 512, None)
        self.files.rm_file(path)  # it is write-protected
        self.files.pipe_file(path, content)


@contextlib.contextmanager
def serving(kind: Kind, folder: Path, *, full: bool = False) -> Iterator[Server]:
    """Run a server of ``kind`` that keeps its data in ``folder``; if ``full``, it has room for next to nothing.

    Skips the test where there is no such server.
    """
    with _s3(folder, full) if kind == "s3" else _ssh(folder, full) as server:
        yield server


@contextlib.contextmanager
def _s3(folder: Path, full: bool) -> Iterator[Server]:
    """Run MinIO's S3 gateway, as JuiceFS ships it, over a folder, with a bucket named ``store``."""
    port, database = free_port(), f"sqlite3://{folder / 'meta.db'}"
    if not (folder / "meta.db").exists():
        bucket = ["--storage", "file", "--bucket", str(folder / "objects"), "--trash-days", "0"]
        subprocess.run([JUICEFS, "format", *bucket, database, "store"], check=True, capture_output=True)
    # 16 files and folders, and half of them are its own.
    limit = [JUICEFS, "config", database, "--inodes", "16" if full else "0"]
    subprocess.run(limit, check=True, capture_output=True)
    gateway = [JUICEFS, "gateway", "--cache-dir", str(folder / "cache"), "--no-usage-report"]
    login = {"MINIO_ROOT_USER": KEYS["AWS_ACCESS_KEY_ID"], "MINIO_ROOT_PASSWORD": KEYS["AWS_SECRET_ACCESS_KEY"]}
    with _running([*gateway, database, f"127.0.0.1:{port}"], port, **login), Proxy(port) as proxy:
        files = S3FileSystem(
            key=KEYS["AWS_ACCESS_KEY_ID"],
            secret=KEYS["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=f"http://127.0.0.1:{port}",
            use_listings_cache=False,
        )
        yield Server(proxy, "s3://store", {"endpointurl": f"http://127.0.0.1:{proxy.port}"}, KEYS, files, root="store")


@contextlib.contextmanager
def _ssh(folder: Path, full: bool) -> Iterator[Server]:
    """Run sshd as the current user, who logs in with the key ``user`` in ``folder``."""
    if SSHD is None:
        pytest.skip("needs OpenSSH's server, sshd (on Debian and Ubuntu: the package openssh-server)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # as the system's own service does
    port = free_port()
    for name in ("host", "user"):
        if not (folder / name).exists():
            make_key(folder / name)
    (folder / "sshd_config").write_text(f"""
        ListenAddress 127.0.0.1
        Port {port}
        HostKey {folder / "host"}
        AuthorizedKeysFile {folder / "user.pub"}
        PidFile none
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        StrictModes no
        UsePAM no
        Subsystem sftp internal-sftp
    """)
    # SFTP has one word for a full disk and a file that is too long. Python ignores the signal for the latter, and so
    # does what inherits that: the write fails.
    limit = ["prlimit", "--fsize=20000"] if full else []
    with _running([*limit, SSHD, "-D", "-f", str(folder / "sshd_config")], port), Proxy(port) as proxy:
        options = {"port": str(proxy.port), "user": getpass.getuser(), "keyfile": str(folder / "user")}
        root, known = str(folder / "objects"), f"[127.0.0.1]:{proxy.port} {(folder / 'host.pub').read_text()}"
        yield Server(proxy, f"ssh://127.0.0.1{root}", options, {}, LocalFileSystem(), root, known)


def make_key(path: Path) -> None:
    """Write a new SSH key without a passphrase, and beside it its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextlib.contextmanager
def _running(command: list[str], port: int, **environment: str) -> Iterator[None]:
    """Run a server, from the moment that it listens."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, env=os.environ | environment, stdout=quiet, stderr=quiet, restore_signals=False
    ) as server:
        try:
            wait_until(lambda: server.poll() is not None or _listens(port), seconds=60)
            assert server.poll() is None, f"{command} ended with {server.returncode}"
            yield
        finally:
            server.terminate()


def free_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Proxy:
    """Hands connections on to a port of this machine, whole or broken."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self.mend()
        threading.Thread(target=self._accept, daemon=True).start()

    def break_down(self, fault: Fault, *, after: int) -> None:
        """Let ``after`` more bytes through, both ways taken together, and no more.

        From then on connections are closed ("cut"), are silent ("stall"), or get nonsense for an answer ("garbage").
        """
        self._left, self._fault = after, fault

    def mend(self) -> None:
        """Hand everything on from now on; connections that were broken end."""
        self._left, self._fault = 0, None
        for end in self._open:
            _close(end)
        self._open = []

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._listener)
        self.mend()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                self._open += [client, server]
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else small packets wait for 40 ms
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=(*ends, client), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                self._left -= len(data)
                if self._fault is None or self._left >= 0:
                    target.sendall(data)
                elif self._fault == "garbage":
                    client.sendall(b"<html>Please log in.</html>\r\n\r\n")
                    break
                elif self._fault == "cut":
                    break
        _close(source)
        _close(target)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

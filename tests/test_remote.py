"""The recipe of docs/sharing.md for a team's remote, against a real S3 server on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project, wait_until

pytestmark = pytest.mark.sim

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret-of-someone"}
JUICEFS = str(Path(sys.executable).parent / "juicefs")


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """MinIO's S3 gateway over a folder, as JuiceFS ships it, with a bucket named ``store``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    database = f"sqlite3://{tmp_path / 'meta.db'}"
    bucket = ["--storage", "file", "--bucket", str(tmp_path / "objects")]
    subprocess.run([JUICEFS, "format", *bucket, database, "store"], check=True, capture_output=True)
    login = {"MINIO_ROOT_USER": KEYS["AWS_ACCESS_KEY_ID"], "MINIO_ROOT_PASSWORD": KEYS["AWS_SECRET_ACCESS_KEY"]}
    command = [JUICEFS, "gateway", "--cache-dir", str(tmp_path / "cache"), "--no-usage-report", database, address]
    with subprocess.Popen(command, env=os.environ | login, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as s3:
        try:
            wait_until(lambda: listens(address), seconds=60)
            yield f"http://{address}"
        finally:
            s3.terminate()


def listens(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def test_push_to_s3_and_pull_in_another_clone(project: Project, tmp_path: Path, endpoint: str):
    clone = Project(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", project.folder, clone.folder], check=True)
    for place in (project, clone):
        place.run("dvc", "remote", "add", "--local", "team", "s3://store/isaac-cartpole")
        place.run("dvc", "remote", "modify", "--local", "team", "endpointurl", endpoint)
    project.run("dvc", "push", "--remote", "team", check=True, **KEYS)
    clone.run("dvc", "pull", "--remote", "team", check=True, **KEYS)
    policy = Path("models") / "policy.safetensors"
    assert (clone.folder / policy).read_bytes() == (project.folder / policy).read_bytes()
    assert "Running stage" not in clone.run("dvc", "repro").stdout

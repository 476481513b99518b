"""A copy of the project that a test may run and change, at a size that takes seconds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two tests run at once, and torch would start threads for each

ROOT = Path(__file__).parent.parent

SMALL = {
    "ppo": {"batch_size": 64, "n_epochs": 2},
    "train": {"num_envs": 16, "total_timesteps": 1024, "checkpoint_every": 512, "log_interval": 256},
    "env": {"episode_length_s": 0.5},
    "evaluate": {"episodes": 12, "num_envs": 8},
    "render": {"episodes": 1, "length": 8, "width": 160, "height": 90},
}

# What `make test ARGS=...` hands down, which is not meant for a `make` that a test runs.
OF_MAKE = (
    *("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "ARGS", "REV", "INDEX", "POLICY", "NAME", "PARAMS"),
    *("FROM", "TO", "STATS", "TASK", "TRUST", "VERSION", "WHAT", "EXP", "REPAIR", "DELETE", "RUNS"),
)
# The project's Python comes first on the path, as ``make`` has it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OF_MAKE} | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "TQDM_DISABLE": "1",
}


class Project:
    """A Git and DVC repository of this project's files, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, to its end."""
        result = subprocess.run(
            command, cwd=self.folder, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False
        )
        if check and result.returncode:
            pytest.fail(f"{' '.join(command)} failed:\n{result.stdout[-6000:]}\n{result.stderr[-6000:]}", pytrace=False)
        return result

    def start(self, *command: str, start_new_session: bool = False, **environment: str) -> subprocess.Popen[str]:
        """Start a command there; all that it says comes through one pipe."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=ENVIRONMENT | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=start_new_session,
            preexec_fn=_default_ctrl_c,
        )

    def edit_params(self, changes: dict[str, Any]) -> None:
        """Merge ``changes`` into params.yaml, two levels deep."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        params = yaml.load(path.read_text())
        for section, values in changes.items():
            if isinstance(values, dict):
                params[section].update(values)
            else:
                params[section] = values
        with path.open("w") as file:
            yaml.dump(params, file)

    def commit(self, message: str) -> None:
        """Commit everything that is not ignored."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, lest one of two processes is left alone with it in the end."""
    items.sort(key=lambda item: (not item.get_closest_marker("sim"), not item.get_closest_marker("slow")))


def _default_ctrl_c() -> None:
    """As in a terminal, also where the tests run in the background of a shell, which ignores Ctrl-C there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(happens: Callable[[], bool], *, seconds: float) -> None:
    """Wait for something outside this process; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(0.2)


# Results belong to the real params, and DVC puts them there by itself.
RESULTS = ("dvc.lock", "docs/", "metrics/", "models/", "videos/")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the project's files, tracked or new, with small params."""
    return copy_project(tmp_path_factory.mktemp("template") / "clone").folder


@pytest.fixture(scope="session")
def checked_template(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """The same after a check: what it has started is not started again, in each of the tests."""
    project = Project(shutil.copytree(template, tmp_path_factory.mktemp("checked") / "clone"))
    project.run("dvc", "repro", "check")
    project.commit("Checked")
    return project.folder


def copy_project(folder: Path, changes: dict[str, Any] | None = None) -> Project:
    """Make a repository of the project's files, tracked or new, with small params, and ``changes`` to those."""
    project = begin_repository(folder, without=RESULTS)
    project.edit_params(SMALL)
    project.edit_params(changes or {})
    project.commit("Small experiment")
    return project


def begin_repository(folder: Path, without: tuple[str, ...] = ()) -> Project:
    """Make a repository of the project's files, tracked or new, but for those whose paths begin so; commit nothing."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if not name.startswith(without) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@localhost")
    return project


def within_larger_repository(project: Project, folder: Path) -> Project:
    """Make a Git repository in ``folder`` of which ``project``, with its results and its cache, is but one folder."""
    inner = folder / "robots" / "cartpole"
    shutil.copytree(project.folder, inner, ignore=shutil.ignore_patterns(".git", ".resume", "logs", "tmp"))
    larger = Project(folder)
    larger.run("git", "init", "--quiet", "--initial-branch=main")
    larger.run("git", "config", "user.name", "Test")
    larger.run("git", "config", "user.email", "test@localhost")
    larger.commit("Everything")
    return Project(inner)


@pytest.fixture
def fresh_project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A project in which nothing has run; where the test is of the simulator, nothing but the check."""
    template = "checked_template" if request.node.get_closest_marker("sim") else "template"
    return Project(shutil.copytree(request.getfixturevalue(template), tmp_path / "clone"))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, checked_template: Path) -> Project:
    """A project with a remote beside it, in which ``dvc repro`` has run once and whose results are committed."""
    folder = tmp_path_factory.mktemp("project")
    project = Project(shutil.copytree(checked_template, folder / "clone"))
    project.run("dvc", "remote", "modify", "storage", "url", str(folder / "storage"))
    project.run("dvc", "repro")
    project.commit("Results")
    return project

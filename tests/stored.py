"""A small DVC project whose outputs are kept in a remote, for tests of that; nothing of it needs a simulator."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from pipeline.experiment.records import recorded_outputs
from tests.conftest import ROOT, Project

PIPELINE = """
artifacts:
  policy: {path: models, type: model}
stages:
  train:
    cmd: mkdir -p models/checkpoints && echo weights >models/policy.safetensors && echo {} >models/policy.json &&
      echo early >models/checkpoints/100 && echo late >models/checkpoints/200
    outs: [models/policy.safetensors, models/policy.json, models/checkpoints]
  render:
    cmd: mkdir -p videos && echo film >videos/policy.mp4
    outs: [videos/policy.mp4]
"""
POLICY, VIDEO, CHECKPOINTS = "models/policy.safetensors", "videos/policy.mp4", "models/checkpoints"
FILES = {
    POLICY: "weights\n",
    "models/policy.json": "{}\n",
    f"{CHECKPOINTS}/100": "early\n",
    f"{CHECKPOINTS}/200": "late\n",
    VIDEO: "film\n",
}


class Stored(Project):
    """A project with ``storage`` beside it as its remote."""

    @property
    def cache(self) -> Path:
        """The folder of its cache."""
        return self.folder / ".dvc" / "cache"

    @property
    def remote(self) -> Path:
        """The folder of its remote."""
        return self.folder.parent / "storage"

    def object(self, store: Path, path: str) -> Path:
        """Where ``store``, the cache or the remote, keeps an output."""
        recorded = recorded_outputs((self.folder / "dvc.lock").read_text())
        (digest,) = (outputs[path] for outputs in recorded.values() if path in outputs)
        return store / "files" / "md5" / digest[:2] / digest[2:]

    def files(self) -> dict[str, str]:
        """The outputs in the workspace."""
        return {name: (self.folder / name).read_text() for name in FILES if (self.folder / name).exists()}

    def fresh_clone(self) -> Self:
        """A clone beside this one, with the same remote and nothing of the outputs."""
        clone = type(self)(self.folder.parent / "colleague")
        self.run("git", "clone", "--quiet", str(self.folder), str(clone.folder))
        return clone


def make_stored(folder: Path) -> Stored:
    """Make a project whose outputs are committed, and not pushed."""
    project = Stored(folder / "author")
    shutil.copytree(ROOT / ".dvc", project.folder / ".dvc", ignore=lambda *_: ["cache", "tmp", "config.local"])
    (project.folder / "dvc.yaml").write_text(PIPELINE)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.run("git", "config", "user.name", "Test")
    project.run("git", "config", "user.email", "test@localhost")
    project.run("dvc", "repro")
    project.commit("Results")
    return project


def copy_stored(made: Path, folder: Path) -> Stored:
    """Copy such a project into ``folder``; its remote will be beside it."""
    project = Stored(shutil.copytree(made, folder / made.name))
    config = project.folder / ".dvc" / "config"
    # Not relative: DVC looks for that elsewhere once it is asked for another revision.
    config.write_text(config.read_text().replace("~/.dvc-storage/isaac-cartpole", str(project.remote)))
    project.commit("Remote")
    return project


def damage(path: Path) -> None:
    """Change the first byte as a failing disk does: size, time and mode stay, and so DVC believes that nothing did."""
    stat, content = path.stat(), path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    path.chmod(stat.st_mode)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def run(main: Callable[[], None], project: Project, *arguments: str) -> str:
    """Run a command in ``project``; returns the sentence that it ends with if it fails, else an empty text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        patch.setattr(sys, "argv", ["make", *arguments])
        try:
            main()
        except SystemExit as exited:
            said = str(exited.code or "")
        else:
            return ""
    assert "\n" not in said, "one sentence"
    return said

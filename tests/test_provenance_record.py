"""`logs/<run>/run.json`: every field, by hand."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.experiment import provenance
from pipeline.experiment.inputs import Inputs
from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import PROVENANCE
from pipeline.experiment.provenance import Run
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

DVC_YAML = """
stages:
  train:
    cmd: x
    deps: [code.py, assets, data]
    params: [ppo]
    outs: [models/policy.json, models/checkpoints, models/never]
    metrics:
      - metrics/train.json: {cache: false}
    plots:
      - metrics/curve.csv: {cache: false, x: a}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit and a stage, and the current folder."""
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "assets").mkdir()
    for name in ("code.py", "assets/a.usda", "assets/b.usda", "other.py"):
        (tmp_path / name).write_text(f"in {name}")
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    git("init", "--quiet")
    git("add", "--all")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message", "One")
    return tmp_path


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def start() -> Run:
    return Run("train", Inputs("train"))


def written(run: Run) -> dict[str, Any]:
    return json.loads((run.folder / "run.json").read_text())


def test_a_run_says_what_ran_on_what(folder: Path):
    with start() as run:
        record = written(run)
    assert record["state"] == "running"
    assert (record["stage"], record["experiment"]) == ("train", "workspace")
    assert record["revision"] == git("rev-parse", "HEAD")
    assert record["uncommitted"] == []
    assert record["command"] == sys.orig_argv
    assert record["params"] == read_sections(Path("params.yaml"))
    assert record["inputs"]["code.py"] == hashlib.sha256(b"in code.py").hexdigest()
    assert list(record["inputs"]) == ["assets", "code.py", "data"]
    assert record["host"] == platform.node()
    assert record["threads"] == 1
    assert record["packages"] == {
        name: metadata.version(name)
        for name in ("isaaclab", "ovphysx", "newton", "warp-lang", "torch", "stable-baselines3", "numpy")
    }
    assert record["machine"]["cores"] == os.cpu_count()
    assert record["machine"]["python"] == ".".join(map(str, sys.version_info[:3]))
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    facts = [re.search(rf"^{name}\s*: (.*)$", first, re.MULTILINE) for name in ("model name", "cpu family", "model")]
    name, family, model = [fact[1] for fact in facts if fact]
    assert record["machine"]["cpu"] == f"{name}, family {family}, model {model}"


def test_threads_are_those_of_the_params(folder: Path):
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("threads: 1", "threads: 3"))
    assert start().record["threads"] == 3


def test_phases_and_seconds_are_what_the_clocks_say(folder: Path, monkeypatch: pytest.MonkeyPatch):
    wall, cpu = iter([100.0, 104.0, 109.5, 110.0, 110.25]), iter([20.0, 23.0, 33.0, 33.5])
    clocks = SimpleNamespace(monotonic=lambda: next(wall), process_time=lambda: next(cpu))
    monkeypatch.setattr(provenance, "time", clocks)
    with start() as run:
        run.end_phase("start")
        run.end_phase("learn")
    assert written(run)["phases"] == {
        "start": {"wall_seconds": 4.0, "cpu_seconds": 3.0},
        "learn": {"wall_seconds": 5.5, "cpu_seconds": 10.0},
        "write": {"wall_seconds": 0.5, "cpu_seconds": 0.5},
    }
    assert written(run)["seconds"] == 10.25


def test_what_is_noted_is_there_at_once(folder: Path):
    with start() as run:
        run.note(device="cpu", resumed_from=512)
        record = written(run)
    assert (record["device"], record["resumed_from"], record["state"]) == ("cpu", 512, "running")


def test_what_is_not_as_committed_is_named_if_the_stage_reads_it(folder: Path):
    for name in ("code.py", "other.py", "assets/b.usda", "assets/new.usda"):
        (folder / name).write_text("changed")
    (folder / "params.yaml").write_text((folder / "params.yaml").read_text() + "# changed\n")
    assert sorted(start().record["uncommitted"]) == ["assets/b.usda", "assets/new.usda", "code.py", "params.yaml"]
    git("add", "code.py")
    assert "code.py" in start().record["uncommitted"]


def test_a_run_that_ends_has_the_digests_of_its_files_and_a_record_in_git(folder: Path):
    with start() as run:
        for name in ("models/policy.json", "metrics/train.json", "metrics/curve.csv", "models/checkpoints/512"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"in {name}")
    record = written(run)
    assert record["state"] == "finished"
    names = ("models/policy.json", "metrics/train.json", "metrics/curve.csv")
    assert record["outputs"] == {name: hashlib.md5(f"in {name}".encode()).hexdigest() for name in names}
    (line,) = (folder / PROVENANCE).read_text().splitlines()
    left_out = ("experiment", "host", "inputs", "params", "state")
    assert json.loads(line) == {name: value for name, value in record.items() if name not in left_out}


def test_a_run_that_fails_says_of_what_and_leaves_no_record_in_git(folder: Path):
    run = start()
    with pytest.raises(ValueError, match="broken"), run:
        raise ValueError("broken")
    assert written(run)["state"] == "failed: ValueError: broken"
    assert "outputs" not in written(run)
    assert written(run)["seconds"] >= 0
    assert not (folder / PROVENANCE).exists()


def test_the_log_of_an_experiment_in_a_copy_belongs_to_the_repository(folder: Path, monkeypatch, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.setenv("DVC_EXP_NAME", "brave-cat")
    with start() as run:
        pass
    assert run.root == root
    (log,) = root.glob("logs/*/run.json")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_brave-cat_train", log.parent.name)
    assert json.loads(log.read_text())["experiment"] == "brave-cat"
    assert (folder / PROVENANCE).exists(), "the record belongs to the results, in the copy"


@pytest.mark.parametrize("name", ["n" * 300, "\U0001f600" * 300, "a/b"])
def test_an_experiment_of_any_name_has_a_folder_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("DVC_EXP_NAME", name)
    with start():
        pass
    (log,) = folder.glob("logs/*/run.json")
    assert json.loads(log.read_text())["experiment"] == name


@pytest.mark.parametrize("lacks", ["git", ".git", "commit"])
def test_outside_of_git_there_is_no_revision_and_no_failure(folder: Path, monkeypatch: pytest.MonkeyPatch, lacks: str):
    if lacks == "git":
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        shutil.rmtree(folder / ".git")
    if lacks == "commit":
        git("init", "--quiet")
    assert start().record["revision"] is None
    assert start().record["machine"]["gpus"] == []
    assert bool(start().record["uncommitted"]) == (lacks == "commit")

"""How a stage ends: its exit code, what it says, and what is recorded of it."""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiment import interruption, stage
from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Params
from pipeline.experiment.paths import PROVENANCE
from pipeline.experiment.provenance import Run
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

_prepare = stage._prepare  # which the tests below leave out


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a stage that reads one file; this process is left as it is."""
    (tmp_path / "dvc.yaml").write_text("stages: {train: {cmd: x, deps: [code.py], params: [ppo], outs: [out.txt]}}\n")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "code.py").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(interruption, "_signals", [])
    monkeypatch.setattr(interruption, "listen", lambda: None)
    monkeypatch.setattr(stage, "_prepare", lambda sim: None)
    return tmp_path


def run(do: Callable[[], Any]) -> Any:
    """Run a stage that writes its output and does ``do``; return its exit code."""

    def train(params: Params, run: Run) -> None:
        Path("out.txt").write_text("result")
        do()

    try:
        stage.run_stage(train)
    except SystemExit as exit:
        return exit.code
    return 0


def state(folder: Path) -> str:
    (file,) = folder.glob("logs/*_train/run.json")
    return json.loads(file.read_text())["state"]


def fail(error: BaseException) -> None:
    raise error


def test_a_stage_that_ends_well_is_recorded(folder: Path):
    assert run(lambda: None) == 0
    assert state(folder) == "finished"
    assert json.loads((folder / PROVENANCE).read_text())["stage"] == "train"


def test_what_the_user_can_mend_is_one_sentence(folder: Path):
    assert run(lambda: fail(UserError("the disk is full"))) == "train: the disk is full"
    assert state(folder) == "failed: UserError: the disk is full"
    assert not (folder / PROVENANCE).exists()


def test_a_stage_that_is_stopped_exits_with_130_and_says_that_nothing_is_recorded(folder: Path, capsys):
    assert run(lambda: fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.startswith("train: stopped; DVC records nothing of this run (`git checkout HEAD .")
    assert state(folder).startswith("failed: KeyboardInterrupt")
    assert not (folder / PROVENANCE).exists()


def test_a_signal_that_a_library_has_swallowed_ends_the_stage_before_it_is_recorded(folder: Path):
    assert run(lambda: interruption._signals.append(signal.SIGTERM)) == 130
    assert not (folder / PROVENANCE).exists()


@pytest.mark.parametrize("edited", ["code.py", "params.yaml"])
def test_what_was_edited_meanwhile_is_not_recorded(folder: Path, edited: str):
    def edit() -> None:
        path = folder / edited
        path.write_text(path.read_text().replace("gamma: 0.995", "gamma: 0.9") or "edited")

    name = "ppo in params.yaml" if edited == "params.yaml" else edited
    assert str(run(edit)).startswith(f"train: {name} changed while the stage ran")
    assert not (folder / PROVENANCE).exists()


def test_any_other_error_is_a_traceback(folder: Path):
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)
    assert state(folder).startswith("failed: ZeroDivisionError")


def test_bad_params_are_refused_before_there_is_a_run(folder: Path):
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("gamma: 0.995", "gamma: 3"))
    assert str(run(lambda: None)).startswith("train: params.yaml: ppo.gamma")
    assert not (folder / "logs").exists()


def test_only_a_stage_that_dvc_has_started_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(interruption, "end_with_parent", lambda: asked.append(os.getpid()))
    run(lambda: None)
    assert not asked
    monkeypatch.setenv("DVC_STAGE", "train")
    run(lambda: None)
    assert asked == [os.getpid()]


def test_a_process_computes_with_as_many_threads_as_the_params_say(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(stage, "pin_numerics", asked.append)
    thresholds = gc.get_threshold()
    try:
        _prepare(3)
    finally:  # it is made for a process that ends soon
        atexit.unregister(gc.freeze)
        gc.set_threshold(*thresholds)
        gc.enable()
    assert asked == [3]

"""Who made the outputs first: `metrics/provenance.jsonl`, and Git's merges of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.experiment import records
from tests.conftest import ROOT

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which records are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(host: str, started: str, **outputs: str) -> records.Record:
    return {"stage": "train", "host": host, "machine": host, "started": started, "outputs": outputs}


def kept() -> list[records.Record]:
    return records.read_records(records.PROVENANCE.read_text())


def test_whoever_makes_the_same_outputs_again_changes_nothing():
    records.add_record(record("first", "2026-01-02", policy="abc"))
    content = records.PROVENANCE.read_bytes()
    records.add_record(record("second", "2026-01-03", policy="abc"))
    assert records.PROVENANCE.read_bytes() == content
    records.add_record(record("second", "2026-01-03", policy="def"))
    assert [line["machine"] for line in kept()] == ["first", "second"]
    assert not any("host" in line for line in kept())
    assert content == b'{"machine": "first", "outputs": {"policy": "abc"}, "stage": "train", "started": "2026-01-02"}\n'


def test_a_record_belongs_to_the_outputs_that_it_made():
    made = [record("second", "2026-01-03", a="1", b="2"), record("first", "2026-01-02", a="1", b="2")]
    assert records.record_of(made, "train", {"a": "1", "b": "2", "folder": "3.dir"}) == made[1]
    assert records.record_of(made, "train", {"a": "1", "b": "3"}) is None
    assert records.record_of(made, "evaluate", {"a": "1", "b": "2"}) is None


def test_a_run_without_outputs_has_made_nothing(here: Path):
    assert records.record_of([record("first", "2026-01-02")], "train", {"a": "1"}) is None
    runs = {"ended": record("first", "2026-01-02", a="1"), "failed": {"stage": "train", "state": "failed: x"}}
    for name, run in runs.items():
        (here / "logs" / name).mkdir(parents=True)
        (here / "logs" / name / "run.json").write_text(json.dumps(run))
    assert records.runs_here(here) == [runs["ended"]]


def test_what_is_no_record_is_left_out():
    assert records.read_records('3\n[]\nnull\n{"stage": "train"}\n{"stage"\n') == [{"stage": "train"}]


DAMAGED = ["", "{", "\x00", "[1]", '{"outputs": [1], "stage": "train"}', "[" * 100_000]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_in_git_or_in_logs_is_left_out_and_ends_no_training(here: Path, text: str):
    ended = record("first", "2026-01-02", a="1")
    for name, content in (("damaged", text), ("ended", json.dumps(ended))):
        (here / "logs" / name).mkdir(parents=True)
        (here / "logs" / name / "run.json").write_text(content)
    assert records.runs_here(here) == [ended]
    records.PROVENANCE.parent.mkdir()
    records.PROVENANCE.write_text(f"{text}\n{json.dumps(ended | {'started': 3})}\n")
    records.add_record(ended)
    assert [line["started"] for line in kept()] == [3]


def test_what_dvc_lock_has_of_outputs_goes_by_stage_and_path():
    lock = """
schema: '2.0'
stages:
  check:
    cmd: x
  train:
    deps: [{path: a, md5: '1'}]
    outs: [{path: b, md5: '2', size: 3}, {path: c, md5: 4.dir}]
"""
    assert records.recorded_outputs(lock) == {"check": {}, "train": {"b": "2", "c": "4.dir"}}
    assert records.recorded_outputs("") == {}


def test_the_marks_of_a_conflict_are_no_error_and_stay_for_whoever_settles_it():
    lines = [json.dumps(record(name, "2026-01-02", policy=name)) for name in ("ours", "theirs")]
    records.PROVENANCE.parent.mkdir()
    records.PROVENANCE.write_text(f"<<<<<<< HEAD\n{lines[0]}\n=======\n{lines[1]}\n>>>>>>> other\n")
    records.add_record(record("third", "2026-01-03", policy="third"))
    assert [line["machine"] for line in kept()] == ["ours", "theirs", "third"]
    assert records.PROVENANCE.read_text().startswith("<<<<<<< HEAD\n")


def test_two_branches_that_both_have_results_merge_without_a_conflict(here: Path):
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *words], check=True, capture_output=True)

    shutil.copy2(ROOT / ".gitattributes", here)
    git("init", "--quiet", "--initial-branch=main")
    for branch, base in (("main", None), ("ours", "main"), ("theirs", "main")):
        if base:
            git("switch", "--quiet", "--create", branch, base)
        records.add_record(record(branch, "2026-01-02", policy=branch))
        git("add", "--all")
        git("commit", "--quiet", "--message", branch)
    git("merge", "--quiet", "ours")
    assert sorted(line["machine"] for line in kept()) == ["main", "ours", "theirs"]

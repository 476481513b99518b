"""What `make repro` says at its end: the numbers of the evaluation, and how long the stages took here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.experiment.files import write_json
from pipeline.experiment.records import runs_here
from tests.conftest import Project
from tools import summary

EVALUATION = {"return_mean": 4.94149, "return_low": 4.93751, "return_high": 4.9446, "success_rate": 0.9966}
DIGESTS = {"metrics/evaluate.json": "1" * 32}
LOCK = "schema: '2.0'\nstages:\n  evaluate:\n    outs:\n    - {path: metrics/evaluate.json, md5: '" + "1" * 32 + "'}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the metrics of one policy, as the stages write them."""
    monkeypatch.chdir(tmp_path)
    write_json(Path("metrics/train.json"), {"policy_sha256": "a"})
    write_json(Path("metrics/evaluate.json"), {"policy_sha256": "a", **EVALUATION})
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The lines of the summary, by their first words."""
    summary.main()
    return {line[:14].strip(): line[14:] for line in capsys.readouterr().out.splitlines() if line}


def run_of_evaluate(started: str, **facts: Any) -> None:
    """Leave the record of a run in ``logs/``."""
    record = {"stage": "evaluate", "started": started, "outputs": DIGESTS, **facts}
    write_json(Path("logs") / f"{started}_evaluate" / "run.json", record)


@pytest.mark.unit
def test_return_interval_and_success_rate_are_the_evaluations_rounded(folder: Path, capsys):
    lines = said(capsys)
    assert lines["return"] == "4.941  (4.938 to 4.945)"
    assert lines["success rate"] == "99.7%"
    assert "seconds" not in lines, "nobody knows how long it took elsewhere"


@pytest.mark.unit
def test_a_task_without_a_success_rate_has_no_line_of_it(folder: Path, capsys):
    evaluation = {"policy_sha256": "a", **EVALUATION}
    del evaluation["success_rate"]
    write_json(Path("metrics/evaluate.json"), evaluation)
    lines = said(capsys)
    assert lines["return"].startswith("4.941")
    assert "success rate" not in lines


@pytest.mark.unit
@pytest.mark.parametrize("other", ["metrics/train.json", "metrics/evaluate.json"])
def test_the_evaluation_of_another_policy_is_not_this_ones(folder: Path, capsys, other: str):
    content = json.loads(Path(other).read_text())
    write_json(Path(other), content | {"policy_sha256": "b"})
    lines = said(capsys)
    assert lines["return"] == "not evaluated; run `make repro`"
    assert "success rate" not in lines


@pytest.mark.unit
def test_seconds_are_those_of_the_first_run_here_that_made_these_outputs(folder: Path, capsys):
    Path("dvc.lock").write_text(LOCK)
    run_of_evaluate("2026-01-01", outputs={"metrics/evaluate.json": "2" * 32}, seconds=70.0)
    run_of_evaluate("2026-01-02", seconds=6.7)
    run_of_evaluate("2026-01-03", seconds=80.0)
    assert said(capsys)["seconds"] == "evaluate 7"


@pytest.mark.sim
def test_the_summary_of_a_real_pipeline_has_its_numbers_and_times_and_changes_nothing(project: Project):
    said = project.run(sys.executable, "-m", "tools.summary").stdout
    evaluation = json.loads((project.folder / "metrics" / "evaluate.json").read_text())
    assert f"return        {evaluation['return_mean']:.3f}  (" in said
    assert f"success rate  {100 * evaluation['success_rate']:.1f}%\n" in said
    lock = (project.folder / "dvc.lock").read_text()
    runs = [run for run in runs_here(project.folder) if all(md5 in lock for md5 in run["outputs"].values())]
    times = {run["stage"]: round(run["seconds"]) for run in sorted(runs, key=lambda run: run["started"], reverse=True)}
    stages = ("train", "evaluate", "render")
    assert f"seconds       {', '.join(f'{stage} {times[stage]}' for stage in stages)}\n" in said
    assert not project.run("git", "status", "--porcelain").stdout

"""What `make verify` says of outputs that differ: its table, and the GPU that they were recorded on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools import verify
from tools.verification.recorded import Recorded
from tools.verification.rerun import Outcome, Result
from tools.verification.verdict import other_gpus, print_table

pytestmark = pytest.mark.unit

STAGES = {"train": Recorded("x", {}, {}, {"models/a": "1" * 32, "models/b": "2" * 32})}


def test_an_output_that_is_missing_and_one_too_many_differ(capsys: pytest.CaptureFixture[str]):
    got = {"models/a": "1" * 32, "models/c": "3" * 32}
    print_table(STAGES, {"train": Result(Outcome.DIFFERENT, got)})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert lines == [
        ["models/a", "11111111", "11111111", "yes"],
        ["models/b", "22222222", "none", "NO"],
        ["models/c", "none", "33333333", "NO"],
    ]


@pytest.mark.parametrize(
    ("device", "here", "said"),
    [
        ("cuda:0", ["H200"], ["recorded on H100; here is H200: another GPU makes other bits"]),
        ("cuda:0", [], ["recorded on H100; here is no GPU: another GPU makes other bits"]),
        ("cuda:0", ["H100"], []),
        ("cpu", ["H200"], []),
    ],
)
def test_another_gpu_is_told_of_results_of_a_gpu_alone(device: str, here: list[str], said: list[str]):
    record: dict[str, Any] = {"stage": "train", "outputs": STAGES["train"].outputs, "started": "2026-01-01"}
    record |= {"device": device, "machine": {"gpus": ["H100"]}}
    assert other_gpus([record], STAGES, here) == said


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.EQUAL])
def test_a_stage_that_did_not_come_out_as_recorded_is_not_called_reproduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome: Outcome
):
    instead: dict[str, Any] = {"check_out": tmp_path, "stages_that_were_run": STAGES, "bring_tracked_data": None}
    instead |= {"untrue": [], "run_again": {"train": Result(outcome, {})}, "machine": {"gpus": []}}
    for name, value in instead.items():
        monkeypatch.setattr(verify, name, lambda *_, value=value: value)
    commits = iter(["verified", "made meanwhile"])
    monkeypatch.setattr(verify, "commit_of", lambda _: next(commits))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="verify: train is the first stage that"):
        verify.verify("HEAD")
    assert "reproduced" not in capsys.readouterr().out
    assert json.loads(verify.VERIFIED.read_text())["commit"] == "verified"

"""What dvc.lock says of each stage, held against a folder: every kind of lie is named, and what is not there is not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tools.verification.recorded import Recorded, recorded_stages, untrue, up_to_date

pytestmark = pytest.mark.unit

FILES = {"code.py": b"code", "assets/a": b"1", "assets/b/c": b"2", "models/p": b"policy", "metrics.json": b"{}"}
DVC_YAML = """
stages:
  train:
    cmd: do train
  evaluate:
    cmd: do evaluate
  render:
    cmd: do render
"""


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def md5_of_folder(files: dict[str, bytes]) -> str:
    """As DVC writes it: of a JSON list of the files' digests and paths."""
    entries = [{"md5": md5(content), "relpath": name} for name, content in sorted(files.items())]
    return md5(json.dumps(entries, sort_keys=True).encode()) + ".dir"


def lock() -> dict:
    assets = {"path": "assets", "md5": md5_of_folder({"a": b"1", "b/c": b"2"})}
    policy = {"path": "models/p", "md5": md5(b"policy")}
    train = {
        "cmd": "do train",
        "deps": [{"path": "code.py", "md5": md5(b"code")}, assets],
        "params": {"params.yaml": {"ppo": {"gamma": 0.5}, "seed": 1}},
        "outs": [policy],
    }
    evaluate = {"cmd": "do evaluate", "deps": [policy], "outs": [{"path": "metrics.json", "md5": md5(b"{}")}]}
    return {"schema": "2.0", "stages": {"evaluate": evaluate, "train": train}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which all is true."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("ppo: {gamma: 0.5}\nseed: 1\nrender: 3\n")
    (tmp_path / "dvc.lock").write_text(json.dumps(lock()))
    return tmp_path


def test_the_recorded_stages_are_in_the_order_of_the_pipeline(folder: Path):
    stages = recorded_stages(folder)
    assert list(stages) == ["train", "evaluate"]
    assert stages["train"] == Recorded(
        command="do train",
        params={"params.yaml": {"ppo": {"gamma": 0.5}, "seed": 1}},
        inputs={"code.py": md5(b"code"), "assets": md5_of_folder({"a": b"1", "b/c": b"2"})},
        outputs={"models/p": md5(b"policy")},
    )
    assert (stages["evaluate"].params, stages["evaluate"].inputs) == ({}, {"models/p": md5(b"policy")})


def test_what_is_true_is_not_named_nor_what_is_not_there(folder: Path):
    assert untrue(folder, recorded_stages(folder)) == []
    (folder / "models" / "p").unlink()
    (folder / "code.py").unlink()
    (folder / "params.yaml").write_text("ppo: {gamma: 0.5}\nseed: 1\nrender: 4\n")
    assert untrue(folder, recorded_stages(folder)) == []


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("code.py", "Code", ["code.py"]),
        ("assets/b/c", "3", ["assets"]),
        ("assets/new", "", ["assets"]),
        ("models/p", "Policy", ["models/p"]),
        ("metrics.json", "[]", ["metrics.json"]),
        ("params.yaml", "ppo: {gamma: 0.6}\nseed: 1\n", ["ppo in params.yaml"]),
        ("params.yaml", "ppo: {gamma: 0.5, more: 1}\n", ["ppo in params.yaml", "seed in params.yaml"]),
        ("dvc.yaml", DVC_YAML.replace("do train", "do other"), ["the command of train in dvc.yaml"]),
        ("dvc.yaml", "stages: {train: {cmd: do train}}\n", ["the command of evaluate in dvc.yaml"]),
    ],
)
def test_every_kind_of_lie_is_named_once(folder: Path, file: str, content: str, named: list[str]):
    stages = recorded_stages(folder)
    (folder / file).write_text(content)
    assert untrue(folder, stages) == named


def test_a_stage_that_was_made_from_older_outputs_is_left_out_with_all_that_follow(folder: Path):
    stages = recorded_stages(folder)
    after = Recorded("do render", {}, {"metrics.json": md5(b"{}")}, {"video": "v"})
    assert list(up_to_date(stages | {"render": after})) == ["train", "evaluate", "render"]
    newer = stages["train"]._replace(outputs={"models/p": md5(b"newer")})
    assert list(up_to_date({"train": newer, "evaluate": stages["evaluate"], "render": after})) == ["train"]

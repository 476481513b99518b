"""What a stage reads, by its content; and the identity of a training, which none may share that reads anything else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.experiment import provenance
from pipeline.experiment.errors import UserError
from pipeline.experiment.inputs import Inputs
from pipeline.experiment.params_file import read_sections
from pipeline.experiment.paths import CHECKED
from pipeline.experiment.provenance import Run
from pipeline.experiment.resume_store import ResumeStore
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

TRAIN = read_sections(ROOT / "dvc.yaml")["stages"]["train"]
RANDOM_WEIGHTS = "assets/random_weights.md"
GIVEN = {"${train.init_from}": RANDOM_WEIGHTS, "tasks/${sim.project}": "tasks/isaaclab"}  # by params.yaml
DEPENDENCIES = [str(GIVEN.get(path, path)) for path in TRAIN["deps"]]
GPUS = ["NVIDIA H100, 570.1"]

# A value of each section of params.yaml, and another.
CHANGES: dict[str, Any] = {
    "env": {"episode_length_s": 3},
    "evaluate": {"episodes": 7},
    "normalize": {"until": 8192},
    "ppo": {"learning_rate": "lin_5e-4"},
    "render": {"fps": 30},
    "seed": 43,
    "sim": {"threads": 2},
    "train": {"num_envs": 128},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stage, and the current folder."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: x\n    deps: ['${train.from}', code.py, data, later]\n    params: [ppo, seed]\n"
    )
    (tmp_path / "params.yaml").write_text("seed: 1\nppo: {gamma: 0.5}\nrender: 3\ntrain: {from: start.md}\n")
    (tmp_path / "start.md").write_bytes(b"start")
    (tmp_path / "code.py").write_bytes(b"code")
    (tmp_path / "data" / "below").mkdir(parents=True)
    (tmp_path / "data" / "a").write_bytes(b"1")
    (tmp_path / "data" / "below" / "b").write_bytes(b"2")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_goes_by_its_content_and_what_is_not_there_by_nothing(folder: Path):
    inputs = Inputs("train")
    assert inputs.files == ["params.yaml", "start.md", "code.py", "data", "later"]
    assert list(inputs.digests) == ["start.md", "code.py", "data", "later"]
    assert inputs.digests["start.md"] == hashlib.sha256(b"start").hexdigest()
    assert inputs.digests["code.py"] == hashlib.sha256(b"code").hexdigest()
    assert inputs.digests["later"] is None


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (data / "a").write_bytes(b"2"),
        lambda data: (data / "below" / "b").write_bytes(b"3"),
        lambda data: (data / "a").rename(data / "c"),
        lambda data: (data / "a").rename(data / "below" / "a"),
        lambda data: (data / "below" / "b").unlink(),
        lambda data: (data / "empty").touch(),
    ],
    ids=["content", "content below", "name", "place", "one less", "one more"],
)
def test_a_folder_goes_by_the_names_and_the_contents_of_all_files_in_it(folder: Path, change):
    inputs = Inputs("train")
    change(folder / "data")
    with pytest.raises(UserError, match=r"^data changed while the stage ran"):
        inputs.check_unchanged()
    assert Inputs("train").digests["data"] != inputs.digests["data"]


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("code.py", "Code", "code.py"),
        ("start.md", "other", "start.md"),
        ("later", "", "later"),
        ("params.yaml", "seed: 1\nppo: {gamma: 0.6}\nrender: 3\n", "ppo in params.yaml"),
        ("params.yaml", "seed: 2\nrender: 3\n", "ppo in params.yaml, seed in params.yaml"),
    ],
)
def test_what_changed_while_the_stage_ran_is_named(folder: Path, file: str, content: str, named: str):
    inputs = Inputs("train")
    inputs.check_unchanged()
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=rf"^{named} changed while the stage ran; nothing was recorded"):
        inputs.check_unchanged()


def test_what_the_stage_does_not_read_may_change(folder: Path):
    inputs = Inputs("train")
    (folder / "params.yaml").write_text("seed: 1\nppo: {gamma: 0.5}\nrender: 4\ntrain: {from: start.md}\n")
    (folder / "other.py").touch()
    inputs.check_unchanged()
    assert Inputs("train").before == inputs.before


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real stage with files of one line, on a machine with one GPU; and the current folder."""
    for path in DEPENDENCIES:
        if path.startswith(("pipeline", "tasks")):
            (tmp_path / path).mkdir(parents=True)
        elif (ROOT / path).is_file():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(path)
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "output_of", lambda *command: "")  # Git has no part in it, and takes time
    monkeypatch.setattr(provenance, "machine", lambda: {"gpus": GPUS, "cores": 2})
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "2", "numpy": "1"})
    return tmp_path


def identity(device: str = "cpu") -> Path:
    """Where the checkpoints of a training lie that starts now."""
    run = Run("train", Inputs("train"))
    run.record["device"] = device
    return ResumeStore(Path(), run.identity, []).folder


def test_the_same_training_finds_its_checkpoints_again(training: Path):
    assert identity() == identity()
    assert identity("cuda:0") == identity("cuda:0")


@pytest.mark.parametrize("section", CHANGES)
def test_a_training_with_other_params_has_another_identity_if_it_reads_them(training: Path, section: str):
    before = identity()
    yaml, file = YAML(), training / "params.yaml"
    params = yaml.load(file.read_text())
    assert set(params) == set(CHANGES)
    value = CHANGES[section]
    params[section] = params[section] | value if isinstance(value, dict) else value
    with file.open("w") as stream:
        yaml.dump(params, stream)
    assert (identity() != before) == (section in TRAIN["params"])


@pytest.mark.parametrize("path", DEPENDENCIES)
def test_a_training_on_other_files_has_another_identity(training: Path, path: str):
    before = identity()
    file = training / path
    if file.is_dir():
        file = file / {"assets": "cartpole.usda", "tasks/isaaclab": "pyproject.toml"}.get(path, "other.py")
    file.write_text("another line")
    # What the check has written follows from the others, and is not there where a stage is run by itself.
    assert (identity() != before) == (path != str(CHECKED))


def test_a_stage_may_read_no_params(folder: Path):
    (folder / "dvc.yaml").write_text("stages: {train: {cmd: x, deps: [code.py]}}\n")
    assert list(Inputs("train").before) == ["code.py"]


def test_bytecode_and_an_editors_files_beside_the_code_do_not_count(training: Path):
    before = identity()
    for name in ("__pycache__/ppo.cpython-312.pyc", ".ppo.py.swp", "ppo.py~"):
        (training / "pipeline" / "ppo" / name).parent.mkdir(exist_ok=True)
        (training / "pipeline" / "ppo" / name).touch()
    assert identity() == before


def test_a_training_elsewhere_has_another_identity(training: Path, monkeypatch: pytest.MonkeyPatch):
    cpu, gpu = identity(), identity("cuda:0")
    assert len({cpu, gpu, identity("cuda:1")}) == 3
    monkeypatch.setattr(provenance, "machine", lambda: {"gpus": ["NVIDIA H200, 570.1"], "cores": 4})
    assert identity("cuda:0") != gpu
    assert identity() == cpu, "the CPU makes the same bits with any GPU beside it, on any number of cores"
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "3", "numpy": "1"})
    assert identity() != cpu

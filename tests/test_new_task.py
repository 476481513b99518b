"""`make new-task`: a project of its own in tasks/, which is tested, trained and evaluated as it was written."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.experiment.errors import UserError
from tests.conftest import ROOT, Project
from tools import new_task

NAME = "tilt_cart"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and an empty tasks/."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["new_task", name])
    new_task.main()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.unit
def test_the_project_has_its_own_name_in_every_spelling(place: Path, monkeypatch: pytest.MonkeyPatch):
    write(NAME, monkeypatch)
    project = place / "tasks" / NAME
    assert [path for path in project.rglob("*") if "robot" in path.name.lower()] == []
    for spelling in ("my_robot", "MyRobot", "My-Robot"):
        assert [path for path in files(project) if spelling in path.read_text()] == []
    assert 'id="Tilt-Cart"' in (project / "src" / NAME / "__init__.py").read_text()
    assert "class TiltCartEnvCfg(" in (project / "src" / NAME / "env_cfg.py").read_text()
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert declared["entry-points"]["isaaclab.tasks"] == {NAME: NAME}


@pytest.mark.unit
def test_the_project_has_an_asset_of_its_own_and_nothing_that_tools_left_in_the_template(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(new_task, "TEMPLATE", shutil.copytree(new_task.TEMPLATE, place / "template", symlinks=False))
    for name in (".pytest_cache/README.md", "src/my_robot/__pycache__/rewards.cpython-312.pyc"):
        (place / "template" / name).parent.mkdir(exist_ok=True)
        (place / "template" / name).write_bytes(b"\xff")
    write(NAME, monkeypatch)
    project = place / "tasks" / NAME
    package = ("__init__.py", f"data/{NAME}.usda", "env_cfg.py", "rewards.py", "sb3_ppo_cfg.yaml", "success.py")
    own = {"pyproject.toml", f"tests/test_{NAME}.py", *(f"src/{NAME}/{name}" for name in package)}
    assert {str(path.relative_to(project)) for path in files(project)} == own
    asset = project / "src" / NAME / "data" / f"{NAME}.usda"
    assert asset.read_bytes() == (ROOT / "assets" / "cartpole.usda").read_bytes()


@pytest.mark.unit
def test_its_params_are_those_of_params_yaml_with_their_comments_but_for_the_task(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    params = place / "params.yaml"
    params.write_text(params.read_text().replace("env: {}", "env: {episode_length_s: 4}"))
    write(NAME, monkeypatch)
    given, written = params.read_text(), (place / "tasks" / f"{NAME}.yaml").read_text()
    old, new = (YAML(typ="safe").load(text) for text in (given, written))
    assert (new["sim"].pop("project"), new["sim"].pop("task")) == (NAME, "Tilt-Cart")
    assert (new.pop("env"), new.pop("ppo")) == ({}, {})
    del old["sim"]["project"], old["sim"]["task"], old["env"], old["ppo"]
    assert new == old
    ppo = given[given.index("ppo:\n") : given.index("\nnormalize:")]
    other = {
        line for line in given.replace(ppo, "").splitlines() if not line.startswith(("  project:", "  task:", "env"))
    }
    assert other - set(written.splitlines()) == set()
    assert "ppo: {}\n\nnormalize:" in written


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "NAME should be small letters"),
        ("Tilt", "NAME should be small letters"),
        ("tilt-cart", "NAME should be small letters"),
        ("tilt_", "NAME should be small letters"),
        ("../cart", "NAME should be small letters"),
        ("2d_cart", "NAME should be small letters"),
        ("isaac_cart", "and not begin with isaac"),
        ("class", "NAME: class is a word of Python"),
        ("torch", "NAME: torch is .* or a module"),
        ("pipeline", "NAME: pipeline is .* or a module"),
        ("taken", "NAME: there is tasks/taken already"),
        ("params_taken", "NAME: there is tasks/params_taken.yaml already"),
    ],
)
def test_a_bad_or_a_taken_name_is_refused_and_nothing_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
):
    (place / "tasks" / "taken").mkdir()
    (place / "tasks" / "params_taken.yaml").touch()
    before = sorted(place.rglob("*"))
    with pytest.raises(UserError, match=f"^{sentence}" if "NAME" in sentence else sentence):
        write(name, monkeypatch)
    assert sorted(place.rglob("*")) == before


@pytest.mark.unit
def test_params_that_nothing_could_run_with_are_refused_and_nothing_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    (place / "params.yaml").write_text("seed: 42\n")
    with pytest.raises(UserError, match=r"params\.yaml"):
        write(NAME, monkeypatch)
    assert list((place / "tasks").iterdir()) == []


@pytest.mark.sim
def test_a_new_task_passes_its_tests_trains_and_is_trained_again_after_an_edit_of_its_reward(fresh_project: Project):
    fresh_project.run("make", "--old-file=setup", "new-task", f"NAME={NAME}")
    project = fresh_project.folder / "tasks" / NAME
    assert "7 passed" in fresh_project.run(sys.executable, "-m", "pytest", "-q", f"tasks/{NAME}").stdout
    (fresh_project.folder / "params.yaml").write_bytes((project.with_suffix(".yaml")).read_bytes())
    fresh_project.edit_params({"ppo": {"batch_size": 64, "n_epochs": 2}, "env": {"episode_length_s": 0.5}})
    fresh_project.run("dvc", "repro", "evaluate")
    assert "success_rate" in json.loads((fresh_project.folder / "metrics" / "evaluate.json").read_text())
    configuration = YAML(typ="safe").load((fresh_project.folder / "models" / "env.yaml").read_text())
    assert configuration["rewards"]["centred"]["weight"] == 1.0
    assert configuration["scene"]["robot"]["spawn"]["usd_path"] == f"tasks/{NAME}/src/{NAME}/data/{NAME}.usda"
    rewards = project / "src" / NAME / "rewards.py"
    rewards.write_text(rewards.read_text().replace("-((position", "-2 * ((position"))
    assert f"modified:           tasks/{NAME}" in fresh_project.run("dvc", "status", "train").stdout

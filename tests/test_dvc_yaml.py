"""dvc.yaml names exactly what each stage reads; a folder of pipeline/ imports only from those that it may use."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.experiment.params import Params
from pipeline.experiment.paths import CHECKED
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
# What a folder of pipeline/ may import from, beside itself.
MAY_IMPORT = {
    "card": {"experiment"},
    "experiment": set(),
    "simulation": {"experiment"},
    "policy": {"experiment"},
    "ppo": {"experiment", "simulation", "policy"},
    "video": {"experiment", "simulation", "policy"},
    "evaluation": {"experiment", "simulation", "policy"},
    "training": {"experiment", "simulation", "policy", "ppo", "video"},
}


def imported_files(path: Path) -> set[Path]:
    """The project's files that ``path`` imports, directly or not, wherever the import stands; ``path`` among them."""
    found, waiting = set(), {path}
    while waiting:
        source = waiting.pop()
        found.add(source)
        waiting |= {file for name in imported_names(source) if (file := module_file(name))} - found
    return found


def imported_names(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def module_file(name: str) -> Path | None:
    file = ROOT / (name.replace(".", "/") + ".py")
    return file if name.startswith(("pipeline.", "stages.")) and file.exists() else None


def folder_of(file: Path) -> str:
    return file.relative_to(ROOT / "pipeline").parts[0]


def test_all_folders_of_the_pipeline_are_named():
    folders = {path.name for path in (ROOT / "pipeline").iterdir() if any(path.glob("*.py"))}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_folder_imports_only_from_those_that_it_may_use(package):
    for file in (ROOT / "pipeline" / package).glob("*.py"):
        imported = {folder_of(module) for name in imported_names(file) if (module := module_file(name))}
        assert imported <= MAY_IMPORT[package] | {package}, file.name


@pytest.mark.parametrize("stage", ["train", "evaluate", "render"])
def test_every_folder_that_a_stage_imports_from_is_a_dependency_and_no_other(stage):
    file = ROOT / "stages" / f"{stage}.py"
    folders = {f"pipeline/{folder_of(module)}" for module in imported_files(file) - {file}}
    named = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("pipeline", "stages"))}
    assert named == folders | {f"stages/{stage}.py"}


def test_the_check_depends_on_all_code_and_all_that_train_reads_and_everything_on_the_check():
    deps = set(STAGES["check"]["deps"])
    assert {f"pipeline/{package}" for package in MAY_IMPORT} | {"stages", "params.yaml"} <= deps
    assert {dep for dep in STAGES["train"]["deps"] if not dep.startswith(("stages", ".checked"))} <= deps
    assert [*STAGES["check"]["outs"][0]] == [str(CHECKED)]
    assert all(str(CHECKED) in STAGES[stage]["deps"] for stage in ("train", "evaluate", "render", "card"))


def test_of_the_code_dvc_counts_python_files_alone():
    """Bytecode and an editor's files are no reason to train again (.dvcignore)."""
    ignored_names = ["pipeline/ppo/ppo.py~", "pipeline/ppo/__pycache__/ppo.cpython-312.pyc", "stages/.train.py.swp"]
    names = ["pipeline/ppo/ppo.py", "stages/train.py", *ignored_names]
    command = ["dvc", "check-ignore", *names]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert ignored == ignored_names


@pytest.mark.parametrize("stage", ["train", "evaluate", "render"])
def test_every_section_of_the_params_that_a_stage_reads_is_named_and_no_other(stage):
    files = [ROOT / "stages" / f"{stage}.py", ROOT / "pipeline" / "experiment" / "stage.py"]
    attributes = [
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    ]
    assert set(STAGES[stage]["params"]) == {node.attr for node in attributes} & set(Params.model_fields)


def test_only_stages_see_all_of_the_params():
    """Everything else takes the sections that it needs, and so dvc.yaml tells what a stage's results depend on."""
    for file in (ROOT / "pipeline").rglob("*.py"):
        takes = {
            argument.arg
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef)
            for argument in [*node.args.args, *node.args.kwonlyargs]
            if argument.annotation and ast.unparse(argument.annotation) == "Params"
        }
        assert not takes, file


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_what_it_is_for_and_depends_on_packages_assets_and_the_project_of_its_task(stage):
    assert STAGES[stage]["desc"]
    assert "requirements.txt" in STAGES[stage]["deps"]
    if stage != "card":
        assert {"assets", "tasks/${sim.project}"} <= set(STAGES[stage]["deps"])


@pytest.mark.parametrize("stage", ["evaluate", "render"])
def test_what_plays_the_policy_depends_on_both_of_its_files(stage):
    assert {"models/policy.json", "models/policy.safetensors"} <= set(STAGES[stage]["deps"])


def test_the_card_depends_on_all_that_it_tells_of():
    read = {*STAGES["train"]["outs"], "metrics/evaluate.json", "LICENSE", "requirements.txt", str(CHECKED)}
    assert read | {"pipeline/card", "pipeline/experiment", "stages/card.py"} == set(STAGES["card"]["deps"])
    assert set(STAGES["train"]["params"]) | {"evaluate"} == set(STAGES["card"]["params"])

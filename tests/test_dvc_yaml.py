"""dvc.yaml names exactly what each stage reads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.params import Params

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


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


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_a_dependency_and_no_other(stage):
    imported = {str(file.relative_to(ROOT)) for file in imported_files(ROOT / "stages" / f"{stage}.py")}
    named = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    assert named == imported


# Of the camera, which decides nothing that is an output: `train` checks it at once, and clips are logs.
READ_FOR_OTHER_REASONS = {"train": {"render"}}


@pytest.mark.parametrize("stage", ["train", "evaluate", "render"])
def test_every_section_of_the_params_that_a_stage_reads_is_named_and_no_other(stage):
    attributes = [
        node
        for file in imported_files(ROOT / "stages" / f"{stage}.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    ]
    read = {node.attr for node in attributes} & set(Params.model_fields)
    assert set(STAGES[stage]["params"]) == read - READ_FOR_OTHER_REASONS.get(stage, set())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_what_it_is_for_and_depends_on_the_locked_packages(stage):
    assert STAGES[stage]["desc"]
    assert "requirements.txt" in STAGES[stage]["deps"]
    assert "assets" in STAGES[stage]["deps"]


@pytest.mark.parametrize("stage", ["evaluate", "render"])
def test_what_plays_the_policy_depends_on_both_of_its_files(stage):
    assert {"models/policy.json", "models/policy.safetensors"} <= set(STAGES[stage]["deps"])

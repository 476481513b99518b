"""The Makefile: every target is listed, and asks for commands that exist, with arguments that they take.

The targets run, but the programs in `.venv` only write down what they are asked, since a benchmark takes an hour.
"""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from dvc.cli import parse_args
from dvc.utils.hydra import apply_overrides

from benchmarks.processes import parse
from tests.conftest import ENVIRONMENT, ROOT, Project

pytestmark = pytest.mark.unit

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([\w-]+):(?!=)", MAKEFILE, re.MULTILINE)
PROGRAMS = ("python", "dvc", "uv", "ruff", "pyright")
ASKED = """#!/usr/bin/env bash
printf '%s\\0' "${0##*/}" "$@" $'\\n' >>asked
env >environment
[ "${0##*/}" != "${FAILS:-}" ]
"""


@pytest.fixture
def place(tmp_path: Path) -> Project:
    """The Makefile beside a finished `.venv` whose programs write what they are asked into the file `asked`."""
    for name in ("requirements.txt", "requirements-dev.txt", "Makefile"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("params.yaml", "other.yaml"):
        (tmp_path / name).write_text("seed: 1\n")
    for program in PROGRAMS:
        path = tmp_path / ".venv" / "bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ASKED)
        path.chmod(0o755)
    (tmp_path / ".venv" / ".complete").touch()
    return Project(tmp_path)


def asked(place: Project, *words: str) -> list[list[str]]:
    """The commands of ``make`` with ``words``, each as its program and its arguments."""
    place.run("make", *words)
    log = place.folder / "asked"
    commands = log.read_text().split("\0\n\0")[:-1] if log.exists() else []
    log.unlink(missing_ok=True)
    return [command.split("\0") for command in commands]


def targets_in(text: str) -> set[str]:
    """What ``text`` tells its readers to make."""
    return set(re.findall(r"(?:`|^ *|')make ([a-z-]+)", text, re.MULTILINE))


def test_make_lists_every_target_with_what_it_does(place: Project):
    lines = place.run("make").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["make", target] for target in TARGETS]
    assert all(line.split()[2:] for line in lines)


def test_no_file_can_be_taken_for_a_target(place: Project):
    for target in TARGETS:
        (place.folder / target).touch()
    assert sorted(MAKEFILE.partition(".PHONY: ")[2].split()) == sorted(TARGETS)
    assert asked(place, "doctor")


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    ".ci/run",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("file", PAGES)
def test_what_readers_are_told_to_make_is_a_target(file: str):
    assert targets_in((ROOT / file).read_text()) - set(TARGETS) == set()
    assert "crash-test" in targets_in("`make crash-test`"), "or nothing was looked for"


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in ("help", "setup", "clean")])
def test_the_commands_of_a_target_exist_and_take_their_arguments(
    place: Project, target: str, monkeypatch: pytest.MonkeyPatch
):
    commands = asked(
        place, target, "INDEX=https://localhost/simple", "PARAMS=other.yaml", "STUDY=study.yaml", "RUNS=main"
    )
    assert commands
    for program, *words in commands:
        assert program in PROGRAMS
        if program in ("uv", "ruff"):
            place.run(str(Path(sys.executable).parent / program), *words, "--help")  # fails at words before --help
        elif words[:2] == ["-m", "pytest"]:
            collected = place.run(sys.executable, *words, "--collect-only", check=False)
            assert collected.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, collected.stderr  # and no wrong usage
        elif program == "dvc":
            drop: list[str] = getattr(parse_args(words), "drop", None) or []
            assert all(map(re.compile, drop))
        elif program == "python" and words[0] == "-m":
            assert find_spec(words[1]), f"there is no {words[1]}"
            if words[2:] and words[1] != "benchmarks.phases":  # which takes params, as another test compares
                assert takes(words[1], words[2:], monkeypatch)
        elif program == "python":
            assert words[0] == "-c"
            compile(words[1], target, "exec")


class Parsed(Exception):  # noqa: N818  (no error)
    """The arguments were understood."""


def takes(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the parser of ``module`` understands ``words``; nothing of the module runs after it."""
    understand = ArgumentParser.parse_args

    def parse_and_stop(self: ArgumentParser, *args: Any, **kwargs: Any) -> None:
        understand(self, *args, **kwargs)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(sys, "argv", [module, *words])
        patch.delitem(sys.modules, module, raising=False)
        with pytest.raises(Parsed):
            runpy.run_module(module, run_name="__main__")
    return True


@pytest.mark.parametrize(
    "target",
    [
        "repro",
        "repro-gpu",
        "experiment",
        "experiments",
        "test",
        "test-unit",
        "test-all",
        "mutants",
        "crash-test",
        "tensorboard",
        "lock",
    ],
)
def test_args_reach_the_command_of_the_target(place: Project, target: str):
    without = asked(place, target, "PARAMS=other.yaml")
    given = asked(place, target, "PARAMS=other.yaml", "ARGS=--one 'two words'")
    with_them = [command for command in given if command not in without]
    assert with_them
    assert all({"--one", "two words"} < set(command) for command in with_them)


@pytest.mark.parametrize("target", ["verify", "provenance"])
def test_a_revision_reaches_the_tool(place: Project, target: str):
    assert asked(place, target, "REV=v1") == [["python", "-m", f"tools.{target}", "v1"]]
    assert asked(place, target) == [["python", "-m", f"tools.{target}"]]


def test_policies_to_evaluate_reach_the_tool_and_are_otherwise_all_of_the_training(place: Project):
    tool = ["python", "-m", "tools.evaluate"]
    assert asked(place, "evaluate", "POLICY=pretrained") == [[*tool, "pretrained"]]
    assert asked(place, "evaluate") == [[*tool, "models"]], "a short training has no checkpoints"
    (place.folder / "models" / "checkpoints" / "512").mkdir(parents=True)
    (place.folder / "models" / "checkpoints" / "512" / "policy.json").touch()
    assert asked(place, "evaluate") == [[*tool, "models/checkpoints", "models"]]


def test_policies_to_disturb_reach_the_tool_and_are_otherwise_the_trained_one(place: Project):
    tool = ["python", "-m", "tools.robustness"]
    assert asked(place, "robustness", "POLICY=pretrained other") == [[*tool, "pretrained", "other"]]
    assert asked(place, "robustness") == [[*tool, "models"]]
    assert asked(place, "robustness", "RUNS=main mine") == [[*tool, "--runs", "main", "mine"]]
    refused = place.run("make", "robustness", "RUNS=main", "POLICY=pretrained", check=False)
    assert "robustness takes RUNS or POLICY, not both" in refused.stderr


def test_isaac_sim_comes_from_the_index_that_is_named_and_not_without_one(place: Project):
    ((program, *words),) = asked(place, "setup-isaacsim", "INDEX=https://localhost/a?b&c")
    assert program == "uv"
    assert words[words.index("--index") + 1] == "https://localhost/a?b&c"
    result = place.run("make", "setup-isaacsim", check=False)
    assert result.returncode == 2
    assert "setup-isaacsim needs the address of NVIDIA's package index" in result.stderr
    assert not (place.folder / "asked").exists()


def test_repro_mends_first_and_sums_up_only_what_did_not_fail(place: Project):
    steps = [" ".join(command) for command in asked(place, "repro")]
    assert steps == ["python -m tools.mend", "dvc repro", "python -m tools.summary"]
    assert place.run("make", "repro", check=False, FAILS="dvc").returncode == 2
    assert "tools.summary" not in (place.folder / "asked").read_text()


def test_an_experiment_has_the_params_of_the_file_that_is_named_and_loses_no_others(place: Project):
    params, other = place.folder / "params.yaml", place.folder / "other.yaml"
    place.run("git", "init", "--quiet")
    place.run("git", "add", "params.yaml")
    place.run("git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "Params")
    other.write_text("seed: 2\n")
    params.write_text("seed: 3\n")
    refused = place.run("make", "experiment", "PARAMS=other.yaml", check=False)
    assert "params.yaml has changes of its own" in refused.stdout
    assert params.read_text() == "seed: 3\n"
    assert "make experiment PARAMS=" in place.run("make", "experiment", check=False).stderr
    params.write_text("seed: 1\n")
    steps = [" ".join(command) for command in asked(place, "experiment", "PARAMS=other.yaml")]
    assert steps == ["python -m tools.mend", "dvc exp run", "python -m tools.summary"]
    assert params.read_text() == "seed: 2\n"
    assert asked(place, "experiment", "PARAMS=other.yaml"), "once more, after an experiment that failed"


def test_commands_see_no_packages_of_another_python_and_write_bytecode(place: Project):
    theirs: dict[str, Any] = dict.fromkeys(("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"), "x")
    place.run("make", "doctor", **theirs)
    seen = dict(line.split("=", 1) for line in (place.folder / "environment").read_text().splitlines() if "=" in line)
    assert seen.keys() & theirs.keys() == {"VIRTUAL_ENV"}
    assert seen["VIRTUAL_ENV"] == str(place.folder / ".venv")
    assert seen["PATH"].startswith(f"{place.folder / '.venv' / 'bin'}:")


def test_clean_removes_the_environment_and_nothing_that_was_trained(place: Project):
    kept = (
        "params.yaml",
        "other.yaml",
        "models/policy.json",
        "logs/run/run.json",
        ".resume/a/b",
        ".dvc/cache/c",
        "Makefile",
    )
    for name in (*kept, "tools/__pycache__/x.pyc", ".ruff_cache/x", ".pytest_cache/x"):
        (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / name).touch()
    place.run("make", "clean")
    left = {str(path.relative_to(place.folder)) for path in place.folder.rglob("*") if path.is_file()}
    assert left == {*kept, "requirements.txt", "requirements-dev.txt"}


@pytest.mark.slow
def test_the_params_of_repro_gpu_can_be_set_and_are_those_that_are_measured(place: Project, fresh_project: Project):
    (_, run, _) = asked(place, "repro-gpu")
    overrides: list[str] = parse_args(run[1:]).set_param
    assert len(overrides) > 10
    params = fresh_project.folder / "params.yaml"
    params.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(str(params), overrides)
    doctor = fresh_project.run("make", "--old-file=setup", "doctor", check=False)
    refused = [line.split()[0] for line in doctor.stdout.splitlines() if "FAILED" in line]
    assert not set(refused) - {"device"}, doctor.stdout  # which is a GPU, and not every machine has one
    assert "settings      ok" in doctor.stdout
    measured = [words[2:] for words in asked(place, "benchmark-gpu") if "benchmarks.phases" in words]
    assert parse(measured[0][1:]) == parse(overrides), shlex.join(measured[0])


@pytest.mark.parametrize(("given", "seen"), [("", "12345"), ("me", "me")])
def test_a_user_without_a_name_goes_by_the_number(place: Project, given: str, seen: str):
    fake = place.folder / "id"
    fake.write_text("#!/bin/sh\necho 12345\necho 'cannot find name for user ID 12345' >&2\nexit 1\n")
    fake.chmod(0o755)
    place.run("make", "doctor", LOGNAME=given, PATH=f"{place.folder}:{ENVIRONMENT['PATH']}")
    assert f"LOGNAME={seen}" in (place.folder / "environment").read_text().splitlines()

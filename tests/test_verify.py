"""`make verify`: the same experiment gives the same bytes anywhere, and what is not true or differs is named."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, within_larger_repository
from tools.verification.recorded import recorded_stages
from tools.verification.rerun import Outcome
from tools.verification.verdict import verdict

VERIFY = (sys.executable, "-m", "tools.verify")
TRAINED = "models/policy.safetensors"
KERNELS = Path(os.environ.get("WARP_CACHE_PATH", Path.home() / ".cache" / "warp"))  # compiled; they take half a minute


@pytest.fixture
def clone(project: Project, tmp_path: Path) -> Project:
    """A copy of the project with its results and its cache, and an empty remote of its own."""
    folder = shutil.copytree(project.folder, tmp_path / "a clöne", ignore=shutil.ignore_patterns("logs", "tmp"))
    replace(folder / ".dvc" / "config", str(project.folder.parent / "storage"), str(tmp_path / "storage"))
    return Project(folder)


def replace(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def compared(stdout: str) -> list[list[str]]:
    """The lines of the table: output, expected, got, equal."""
    return [line.split() for line in stdout.splitlines() if re.match(r"(metrics|models|videos)/.* (yes|NO)$", line)]


def add_data(project: Project) -> None:
    """Put a file under `dvc add`, and take it away again, so that it is in the cache alone."""
    (project.folder / "notes.txt").write_text("kept by DVC\n")
    project.run("dvc", "add", "--quiet", "notes.txt")
    (project.folder / "notes.txt").unlink()


def as_ordinary_user(tmp_path: Path) -> tuple[list[str], dict[str, Any]]:
    """What a command begins with, lest root can write what is read-only, and the folders of somebody else."""
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root can write everything, and there is no setpriv here that takes it away")
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    folders = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary"), "WARP_CACHE_PATH": str(KERNELS)}
    return ["setpriv", "--bounding-set=-all"] if os.getuid() == 0 else [], folders


# Another user's settings; the last would change the bits.
ELSEWHERE: dict[str, Any] = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "USER": "nobody", "LOGNAME": "nobody"}
ELSEWHERE["ATEN_CPU_CAPABILITY"] = "default"


@pytest.mark.sim
def test_results_come_out_again_to_the_bit_from_a_read_only_folder_of_a_larger_repository(
    clone: Project, tmp_path: Path
):
    add_data(clone)
    inner = within_larger_repository(clone, tmp_path / "larger")
    ordinary, folders = as_ordinary_user(tmp_path)
    inner.run("chmod", "-R", "a-w", str(tmp_path / "larger"))
    with inner.start(sys.executable, "-c", "while True: pass") as busy:
        try:
            result = inner.run(*ordinary, *VERIFY, **ELSEWHERE, **folders)
        finally:
            busy.kill()
            inner.run("chmod", "-R", "u+w", str(tmp_path / "larger"))
    assert len(compared(result.stdout)) == 19
    assert all(expected == got and equal == "yes" for _, expected, got, equal in compared(result.stdout))
    assert "reproduced to the bit: 19 of 19 outputs" in result.stdout
    assert not (inner.folder / "logs").exists()
    assert not (inner.folder / ".dvc" / "tmp").exists()


@pytest.mark.sim
@pytest.mark.night
def test_if_the_training_differs_what_comes_after_it_runs_on_the_recorded_policy_from_the_remote(clone: Project):
    add_data(clone)
    claim_another_seed(clone)
    clone.run("dvc", "push", "--quiet")
    shutil.rmtree(clone.folder / ".dvc" / "cache")
    result = clone.run(*VERIFY, "HEAD", check=False)
    assert result.returncode == 1
    assert [equal for *_, equal in compared(result.stdout)] == ["NO"] * 11 + ["yes"] * 6 + ["NO"] * 2, "shows in all"
    assert result.stderr.splitlines()[-1] == (
        "verify: train is the first stage that differs; evaluate, run on the recorded policy, came out as recorded; "
        "render, run on the recorded policy, came out as recorded; card, run on the recorded policy, differs"
    )


def claim_another_seed(clone: Project) -> None:
    """Let dvc.lock say that the policy came of a seed that it did not come of."""
    for file, indent in (("params.yaml", ""), ("dvc.lock", "        ")):
        replace(clone.folder / file, f"\n{indent}seed: 42", f"\n{indent}seed: 43")
    clone.commit("Better")


@pytest.mark.sim
def test_a_policy_that_nobody_has_is_found_out_and_the_gpu_of_the_record_told(clone: Project):
    weights = recorded_stages(clone.folder)["train"].outputs[TRAINED]
    replace(clone.folder / "dvc.lock", weights, "f" * 32)
    record = {"stage": "train", "outputs": {TRAINED: "f" * 32}, "started": "2026-11-25T10:00:00+00:00"}
    record |= {"device": "cuda:0", "machine": {"gpus": ["Voodoo 2"]}}
    (clone.folder / "metrics" / "provenance.jsonl").write_text(f"<<<<<<< no JSON\n{json.dumps(record)}\n")
    clone.commit("Better")
    result = clone.run(*VERIFY, "HEAD", check=False)
    assert result.returncode == 1
    assert [TRAINED, "ffffffff", weights[:8], "NO"] in compared(result.stdout)
    assert "\nrecorded on Voodoo 2; here is " in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "verify: train is the first stage that differs; of evaluate, render and card nothing is known: neither this "
        "repository's cache nor its remote gave the recorded policy"
    )
    (kept,) = (clone.folder / "logs" / "verified.jsonl").read_text().splitlines()
    assert json.loads(kept)["result"].startswith("train is the first stage that differs")


@pytest.mark.sim
@pytest.mark.night
def test_an_experiment_of_one_stage_alone_comes_out_again_and_the_others_are_not_accused(clone: Project):
    clone.run("dvc", "exp", "run", "--name", "other", "-S", "seed=5", "train")
    result = clone.run(*VERIFY, "other")
    assert "left out: evaluate was not run in this revision\n" in result.stdout
    assert "left out: render was not run in this revision\n" in result.stdout
    assert "reproduced to the bit: 11 of 11 outputs" in result.stdout


@pytest.mark.sim
def test_what_was_tampered_with_here_is_named_even_if_its_size_and_time_are_the_same(clone: Project):
    tampered = clone.folder / "models" / "model.zip"
    before = tampered.stat()
    tampered.chmod(0o644)
    tampered.write_bytes(bytes(before.st_size))
    os.utime(tampered, ns=(before.st_atime_ns, before.st_mtime_ns))
    tell_lies(clone)
    (clone.folder / "models" / "policy.onnx").unlink()
    result = clone.run(*VERIFY, check=False)
    assert result.returncode == 1
    assert named(result.stdout) == {"models/model.zip", *LIES}
    assert "nothing was run" in result.stderr


@pytest.mark.sim
def test_what_was_tampered_with_in_a_commit_is_named_though_all_is_true_again_here(clone: Project):
    tell_lies(clone)
    replace(clone.folder / "models" / "policy.json", '"seed": 42', '"seed": 43')
    clone.run("git", "add", "--force", "models/policy.json")
    clone.commit("Better")
    clone.run("git", "tag", "better")
    clone.run("git", "reset", "--quiet", "--hard", "HEAD~1")
    clone.run("dvc", "checkout", "--quiet", "--force")
    result = clone.run(*VERIFY, "better", check=False)
    assert result.returncode == 1
    assert named(result.stdout) == {"models/policy.json", *LIES}
    assert "nothing was run" in result.stderr
    assert "Running stage" not in result.stdout


LIES = {
    "metrics/evaluate.json",
    "ppo in params.yaml",
    "pipeline/ppo",
    "the command of render in dvc.yaml",
    "assets",
}


def tell_lies(clone: Project) -> None:
    """Change what :data:`LIES` names, so that the results were not made from what is there."""
    replace(clone.folder / "metrics" / "evaluate.json", '"length_mean": ', '"length_mean": 1')
    replace(clone.folder / "params.yaml", "gamma: 0.995", "gamma: 0.99")
    replace(clone.folder / "pipeline" / "ppo" / "rollout_buffer.py", "gae_lambda * non_terminal", "non_terminal")
    replace(clone.folder / "dvc.yaml", "stages.render", "stages.evaluate")
    (clone.folder / "assets" / "more.usda").touch()


def named(stdout: str) -> set[str]:
    return set(re.findall(r"^not what dvc.lock says: (.*)$", stdout, re.MULTILINE))


@pytest.mark.sim
def test_data_that_nobody_has_are_one_sentence(clone: Project):
    add_data(clone)
    clone.commit("Notes")
    shutil.rmtree(clone.folder / ".dvc" / "cache")
    result = clone.run(*VERIFY, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("verify: neither this repository's cache nor its remote gave the data of notes.txt")
    assert result.stderr.count("\n") == 1


@pytest.mark.sim
@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("nowhere", "see `git log` and `dvc exp list`"),
        ("HEAD~2", "has no dvc.lock, so that it has no results"),
        ("HEAD~1", "dvc.lock has no results to verify"),
    ],
)
def test_a_revision_without_results_is_one_sentence(project: Project, revision: str, sentence: str):
    result = project.run(*VERIFY, revision, check=False)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.unit
@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ("EQUAL EQUAL DIFFERENT EQUAL", "evaluate is the first stage that differs, and the only one: render came out"),
        ("EQUAL EQUAL EQUAL DIFFERENT", "render is the first stage that differs"),
        ("EQUAL DIFFERENT EQUAL EQUAL", "train is the first stage that differs, and the only one: evaluate and render"),
        ("EQUAL FAILED DIFFERENT EQUAL", "train is the first stage that fails; evaluate, run on the recorded policy, "),
        ("FAILED FAILED NOT_RUN NOT_RUN", "check is the first stage that fails; of evaluate and render nothing is "),
    ],
)
def test_the_first_stage_that_differs_is_named(outcomes: str, words: str):
    stages = ("check", "train", "evaluate", "render")
    given = {stage: Outcome[outcome] for stage, outcome in zip(stages, outcomes.split(), strict=True)}
    assert verdict(given).startswith(words)

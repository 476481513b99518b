"""The pipeline through DVC, on the real simulator: what a user does, at a size that takes seconds."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Project

pytestmark = pytest.mark.sim

STAGES = ("train", "evaluate", "render", "card")


def ran(output: str) -> set[str]:
    """The stages that a ``dvc`` command ran, by its output."""
    return {stage for stage in STAGES if f"Running stage '{stage}'" in output}


def metrics(project: Project, name: str) -> dict[str, float]:
    return json.loads((project.folder / "metrics" / f"{name}.json").read_text())


def test_repro_makes_every_output_and_a_second_time_nothing(project):
    for name in (
        "policy.safetensors",
        "policy.json",
        "model.zip",
        "model_vecnormalize.pkl",
        "policy.onnx",
        "optimizer.safetensors",
        "README.md",
        "SHA256SUMS",
    ):
        assert (project.folder / "models" / name).stat().st_size
    assert {path.name for path in (project.folder / "models" / "checkpoints").iterdir()} == {"512"}
    assert ran(project.run("dvc", "repro").stdout) == set()
    assert not project.run("git", "status", "--porcelain").stdout


def test_evaluation_has_one_row_an_episode_and_names_the_policy(project):
    with (project.folder / "metrics" / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert sorted({row["environment"] for row in rows}) == [str(number) for number in range(8)]
    evaluation = metrics(project, "evaluate")
    assert evaluation["policy_sha256"] == metrics(project, "train")["policy_sha256"]
    assert evaluation["return_low"] <= evaluation["return_mean"] <= evaluation["return_high"]


def test_learning_curve_has_timesteps_and_no_times(project):
    with (project.folder / "metrics" / "learning_curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["timesteps"]) for row in rows] == [256, 512, 768, 1024]
    assert {"rollout/ep_rew_mean", "train/explained_variance"} <= set(rows[0])
    # The first whole episodes end within 60 steps and show in the row after that; a rollout and a row are 16 steps.
    lengths = [row["rollout/ep_len_mean"] for row in rows]
    assert lengths == ["nan", "nan", "30.0", "30.0"], "not what began in mid-episode"
    assert [row["train/n_updates"] for row in rows] == ["nan", "2.0", "4.0", "6.0"]
    assert not [column for column in rows[0] if column.startswith("time/")]


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        (["evaluate.episodes=9"], {"evaluate", "card"}),
        pytest.param(["render.camera.eye=[8.5,0.0,3.3]"], {"render"}, marks=pytest.mark.night),
        pytest.param(
            ["ppo.learning_rate=1e-05", "normalize.rewards=false", "+env.rewards.pole_pos.weight=-2.0"],
            {"train", "evaluate", "render", "card"},
            marks=pytest.mark.night,
        ),
    ],
    ids=["int", "list", "float, bool and an added key"],
)
def test_an_experiment_runs_just_the_stages_that_it_concerns(project, overrides, stages):
    before = metrics(project, "evaluate")
    changes = [part for override in overrides for part in ("-S", override)]
    try:
        assert ran(project.run("dvc", "exp", "run", *changes).stdout) == stages
        assert (metrics(project, "evaluate") != before) == ("evaluate" in stages)
        differences = project.run("dvc", "params", "diff").stdout
        assert all(override.split("=")[0].strip("+") in differences for override in overrides)
        assert ("return_mean" in project.run("dvc", "metrics", "diff").stdout) == ("evaluate" in stages)
    finally:
        project.run("git", "checkout", "--quiet", "--", ".")
        project.run("dvc", "checkout")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("+trian.num_envs=64", "check: params.yaml: trian is not a parameter; did you mean train?"),
        ("train.num_envs=0", "check: params.yaml: train.num_envs: input should be greater than 0"),
        (
            "+env.rewards.pole_pos.wieght=-2.0",
            "check: env.rewards.pole_pos.wieght: the task's configuration",
        ),
        ("ppo.policy_kwargs.activation_fn=nn.Banana", "check: ppo.policy_kwargs.activation_fn: "),
        (
            "ppo.policy_kwargs.activation_fn=nn.Mish",
            "check: ppo.policy_kwargs.activation_fn: Mish may give other bits",
        ),
        (
            "+ppo.policy_kwargs.optimizer_class=optim.RMSprop",
            "check: params.yaml: ppo.policy_kwargs.optimizer_class: should be one of",
        ),
        ("ppo.policy_kwargs.net_arch=[0]", "check: params.yaml: ppo.policy_kwargs.net_arch: should be the units of"),
        ("train.init_from=nowhere", "failed to reproduce 'check': [Errno 2] No such file or directory"),
        ("train.init_from=tests", "check: train.init_from: "),
        ("render.fps=7", "check: render.fps"),
    ],
)
def test_an_experiment_with_bad_params_loses_nothing(project, override, sentence):
    try:
        result = project.run("dvc", "exp", "run", "-S", override, check=False)
        assert result.returncode
        assert sentence in result.stderr
        assert project.run("git", "status", "--porcelain").stdout.split() == ["M", "params.yaml"]
        assert (project.folder / "models" / "policy.safetensors").exists()
        assert (project.folder / ".checked.json").exists()
    finally:
        project.run("git", "checkout", "--quiet", "--", ".")


def test_an_entry_of_the_run_cache_without_content_which_dvc_fails_on_is_dropped(fresh_project: Project):
    runs = fresh_project.folder / ".dvc" / "cache" / "runs"
    (runs / "ab" / "abcd").mkdir(parents=True)
    (runs / "cd" / "cdef").mkdir(parents=True)
    (runs / "cd" / "cdef" / "run").touch()
    fresh_project.run(sys.executable, "-m", "tools.mend")
    left = {path.name for path in runs.glob("*/*")}
    assert "cdef" in left
    assert "abcd" not in left


def test_a_half_written_dvc_lock_is_mended_and_nothing_runs_again(project, tmp_path):
    clone = Project(shutil.copytree(project.folder, tmp_path / "clone"))
    clone.edit_params({"evaluate": {"episodes": 10}})
    assert ran(clone.run("dvc", "repro").stdout) == {"evaluate", "card"}
    lock = clone.folder / "dvc.lock"
    content = lock.read_text()
    lock.write_text("")  # what DVC leaves when it is killed there: it has opened the file, and not yet written
    assert "validation failed" in clone.run("dvc", "repro", check=False).stderr
    assert "it is as in Git again" in clone.run(sys.executable, "-m", "tools.mend").stdout
    assert ran(clone.run("dvc", "repro").stdout) == set()
    assert lock.read_text() == content
    assert not clone.run(sys.executable, "-m", "tools.mend").stdout


def test_results_that_were_made_before_come_from_the_run_cache(project, tmp_path):
    clone = Project(shutil.copytree(project.folder, tmp_path / "clone"))
    (clone.folder / "dvc.lock").unlink()
    assert ran(clone.run("dvc", "repro").stdout) == set()
    assert not clone.run("git", "status", "--porcelain").stdout


def test_a_queued_experiment_runs_and_is_shown(project):
    project.run("dvc", "exp", "run", "--queue", "--name", "queued", "-S", "seed=5", "evaluate")
    project.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    experiments = [experiment["revs"][0] for experiment in shown[1]["experiments"] or []]
    queued = next(experiment for experiment in experiments if experiment["name"] == "queued")
    assert queued["data"]["params"]["params.yaml"]["data"]["seed"] == 5
    assert (
        queued["data"]["metrics"]["metrics/evaluate.json"]["data"]["return_mean"]
        != metrics(project, "evaluate")["return_mean"]
    )
    runs = [path.name for path in (project.folder / "logs").iterdir()]
    assert any("queued_train" in name for name in runs), "the run's log belongs to the main repository"


def test_plots_show_draws_every_plot(project, tmp_path):
    project.run("dvc", "plots", "show", "--out", str(tmp_path / "plots"))
    html = (tmp_path / "plots" / "index.html").read_text()
    for title in ("Episode return in training", "Episode length in training", "Distribution of the held-out"):
        assert title in html
    assert {path.suffix for path in (tmp_path / "plots").rglob("*policy*")} == {".gif"}
    assert list((tmp_path / "plots").rglob("*film_strip*"))


def test_a_second_clone_pulls_one_file_or_all_and_is_up_to_date(project, tmp_path):
    project.run("dvc", "push")
    project.run("git", "tag", "--annotate", "policy@v1.0.0", "--message", "First")
    clone = Project(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", project.folder, clone.folder], check=True)
    clone.run("dvc", "pull", "models/policy.safetensors")
    assert {path.name for path in (clone.folder / "models").iterdir()} == {".gitignore", "policy.safetensors"}
    clone.run("dvc", "pull")
    assert ran(clone.run("dvc", "repro").stdout) == set()
    clone.run("dvc", "artifacts", "get", str(project.folder), "policy", "--rev", "v1.0.0", "--out", "release")
    assert same_bytes(clone.folder / "release" / "policy.onnx", project.folder / "models" / "policy.onnx")


def test_one_file_of_the_policy_can_be_fetched_into_any_folder(project, tmp_path):
    """In a folder that is no repository, by another name."""
    elsewhere = Project(tmp_path)
    elsewhere.run("dvc", "get", str(project.folder), "models/policy.onnx", "--rev", "main", "--out", "cartpole.onnx")
    assert same_bytes(tmp_path / "cartpole.onnx", project.folder / "models" / "policy.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["cartpole.onnx"]


def same_bytes(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()


def test_the_summary_of_a_pipeline_without_results_is_no_traceback(fresh_project: Project):
    result = fresh_project.run(sys.executable, "-m", "tools.summary")
    assert not result.stderr
    assert "return " not in result.stdout

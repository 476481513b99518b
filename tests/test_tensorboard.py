"""`make tensorboard` serves the training curves and the hyperparameters of every run on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from stable_baselines3.common.logger import TensorBoardOutputFormat

from pipeline.training.learn import show_hyperparameters
from tests.conftest import ROOT, Project, wait_until


@contextlib.contextmanager
def tensorboard(project: Project, arguments: str = "") -> Iterator[str]:
    """The address at which `make tensorboard` serves the curves of a project."""
    command = ("make", "--old-file=setup", "tensorboard", f"ARGS=--port 0 {arguments}")
    with project.start(*command, start_new_session=True) as board:
        assert board.stdout
        try:
            found = (re.search(r"http://\S+:\d+/", line) for line in board.stdout)
            yield next(match[0] for match in found if match)
        finally:
            os.killpg(board.pid, signal.SIGTERM)
            board.communicate(timeout=60)


def ask(address: str, **question: Any) -> Any:
    content = json.dumps(question).encode() if question else None
    with urlopen(Request(address, content, {"Content-Type": "application/json"}), timeout=60) as answer:
        return json.load(answer)


def hyperparameters(address: str) -> dict[str, dict[str, Any]]:
    """What the tab HPARAMS shows of each run, by its name: the hyperparameters and the metrics."""
    every = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    shown = ask(f"{address}data/plugin/hparams/session_groups", startIndex=0, sliceSize=100, allowedStatuses=every)
    runs = [group["sessions"][0] | group for group in shown["sessionGroups"]]
    return {
        run["name"]: run["hparams"] | {metric["name"]["tag"]: metric["value"] for metric in run["metricValues"]}
        for run in runs
    }


@pytest.mark.sim
def test_a_training_is_shown_with_its_curves_and_its_hyperparameters(project: Project):
    # The first one, which made the project. Other tests share the project, and kill trainings before their first curve.
    training = min(path.parent.name for path in project.folder.glob("logs/*_train/events.out.tfevents.*"))
    scalars = {"rollout/ep_rew_mean", "train/explained_variance"}
    with tensorboard(project) as address:
        # TensorBoard reads while it serves.
        tags = f"{address}data/plugin/scalars/tags"
        wait_until(lambda: scalars <= set(ask(tags).get(training, [])), seconds=60)
        wait_until(lambda: scalars <= set(hyperparameters(address).get(training, [])), seconds=60)
        shown = hyperparameters(address)[training]
    assert {name: shown[name] for name in ("seed", "ppo.learning_rate", "ppo.batch_size", "train.num_envs")} == {
        "seed": 42,
        "ppo.learning_rate": "lin_0.005",
        "ppo.batch_size": 64,
        "train.num_envs": 16,
    }
    assert shown["ppo.gae_lambda"] == 0.95, "of the agent that Isaac Lab registers"
    assert shown["ppo.policy_kwargs.net_arch"] == "[32, 32]"
    assert shown["env.episode_length_s"] == 0.5
    assert shown["normalize.rewards"] == "true"
    assert shown["rollout/ep_rew_mean"] == pytest.approx(
        json.loads((project.folder / "metrics" / "train.json").read_text())["training_return"]
    )


@pytest.mark.unit
@pytest.mark.slow
def test_runs_are_compared_whatever_each_of_them_changed(tmp_path: Path):
    """A param that only some runs have is shown, and a number beside a text is no error."""
    runs: dict[str, dict[str, Any]] = {
        "1": {"ppo": {"learning_rate": "lin_0.005", "gamma": 0.99}, "env": {}},
        "2": {"ppo": {"learning_rate": 0.001, "gamma": 0.99}, "env": {"rewards.pole_pos.weight": None}},
        "3": {"ppo": {"learning_rate": 0.001, "gamma": 0.99}, "env": {}},
    }
    for name, params in runs.items():
        board = TensorBoardOutputFormat(str(tmp_path / name))
        show_hyperparameters(board, params)
        board.write({"rollout/ep_rew_mean": float(name)}, {"rollout/ep_rew_mean": ()}, 64)
        board.close()
    with tensorboard(Project(ROOT), f"--logdir {tmp_path}") as address:
        wait_until(lambda: len(hyperparameters(address)) == 3, seconds=60)
        columns = ask(f"{address}data/plugin/hparams/experiment", experimentName="")["hparamInfos"]
        shown = hyperparameters(address)
    assert {column["name"]: column["type"] for column in columns} == {
        "ppo.learning_rate": "DATA_TYPE_STRING",
        "ppo.gamma": "DATA_TYPE_FLOAT64",
        "env.rewards.pole_pos.weight": "DATA_TYPE_STRING",
    }
    assert columns[0]["name"] == "ppo.learning_rate", "which differs"
    assert shown["2"] == {
        "ppo.learning_rate": 0.001,
        "ppo.gamma": 0.99,
        "env.rewards.pole_pos.weight": "null",
        "rollout/ep_rew_mean": 2.0,
    }

"""`make tensorboard` serves the training curves of every run on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from tests.conftest import Project, wait_until

pytestmark = pytest.mark.sim


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    """Where `make tensorboard` serves the project's curves."""
    command = ("make", "--old-file=setup", "tensorboard", "ARGS=--port 0")
    with project.start(*command, start_new_session=True) as board:
        assert board.stdout
        try:
            found = (re.search(r"http://\S+:\d+/", line) for line in board.stdout)
            yield next(match[0] for match in found if match)
        finally:
            os.killpg(board.pid, signal.SIGTERM)
            board.communicate(timeout=60)


def test_a_training_is_shown_with_its_curves(project: Project, address: str):
    def curves() -> dict[str, list[str]]:
        with urlopen(f"{address}data/plugin/scalars/tags", timeout=60) as answer:
            return json.load(answer)

    # The first one, which made the project. Other tests share the project, and kill trainings before their first curve.
    training = min(path.parent.name for path in project.folder.glob("logs/*_train/events.out.tfevents.*"))
    shown = {"rollout/ep_rew_mean", "train/explained_variance"}
    # TensorBoard reads while it serves.
    wait_until(lambda: shown <= set(curves().get(training, [])), seconds=60)

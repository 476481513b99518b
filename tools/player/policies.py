"""The policies that can be played, also those that a training writes meanwhile, and its learning curve."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.experiment.errors import UserError
from pipeline.experiment.paths import LOGS
from pipeline.policy.policy import JSON_FILE, Policy
from tools.evaluate import load_policies

RETURN = "rollout/ep_rew_mean"


class Policies:
    """The policies in folders, each once.

    Args:
        folders: Each with a policy, or with folders of policies.
        task: What they must be of.

    Raises:
        UserError: If one cannot be read or is of another task.
    """

    def __init__(self, folders: list[Path], task: str) -> None:
        self.task, self._folders, self._known = task, folders, set[str]()
        if not any(self._paths()):
            print(f"no policy in {', '.join(map(str, folders))} yet; `make repro` trains one, `make pull` brings it")
        self.at_start = [*self.new()]

    def new(self) -> Iterator[Policy]:
        """Load those that were not there before, from the least to the most trained.

        Raises:
            UserError: After the others, if one cannot be read or is of another task.
        """
        found, refused = list[Policy](), None
        for path in self._paths():
            if (content := path.read_text()) not in self._known:
                self._known.add(content)
                try:
                    found += load_policies([path.parent], self.task).values()
                except UserError as error:
                    refused = error
        yield from sorted(found, key=lambda policy: policy.timesteps)
        if refused:
            raise refused

    def _paths(self) -> list[Path]:
        return [
            path
            for folder in self._folders
            for pattern in (JSON_FILE, f"*/{JSON_FILE}")
            for path in folder.glob(pattern)
        ]


def learning_curve() -> dict[int, float]:
    """Read the return in training over timesteps, of the training that wrote last on this machine."""
    files = sorted(Path(LOGS).glob("**/events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    return _curve(files[-1], files[-1].stat().st_size) if files else {}


@functools.lru_cache(maxsize=1)  # to read it takes longer than a step, and most times nothing was added
def _curve(file: Path, _size: int) -> dict[int, float]:
    events = EventAccumulator(str(file), size_guidance={"scalars": 0})
    events.Reload()
    points = events.Scalars(RETURN) if RETURN in events.Tags()["scalars"] else []
    return {point.step: point.value for point in points if not math.isnan(point.value)}

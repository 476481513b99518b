"""Callbacks of the training: the learning curve, the task's own statistics, the freeze of the normalisation."""

from __future__ import annotations

from collections import deque
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.utils import safe_mean

from pipeline.simulation.tensor_env import TensorEnv


class LearningCurve(KVWriter):
    """Collects what SB3 logs as rows, one a point, without the times, which differ from run to run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row at ``step`` timesteps."""
        values = {key: value for key, value in sorted(key_values.items()) if not key.startswith("time/")}
        self.rows.append({"timesteps": step} | {key: float(value) for key, value in values.items()})

    def summary(self) -> dict[str, float]:
        """Return the timesteps, and the last episode return and length in training, which is with noisy actions."""
        names = {
            "timesteps": "timesteps",
            "rollout/ep_rew_mean": "training_return",
            "rollout/ep_len_mean": "training_length",
        }
        newest = {column: value for row in self.rows for column, value in row.items()}
        return {name: newest[column] for column, name in names.items() if column in newest}

    def close(self) -> None:
        """Nothing to close: the rows are written by the stage, when it has succeeded."""


class FreezeNormalization(BaseCallback):
    """Keeps VecNormalize's statistics as they are from ``until`` timesteps on, as rsl_rl's EmpiricalNormalization can.

    SB3 averages over all of the training. In a cartpole's first steps poles spin at many radians a second; those steps
    would shrink what the policy sees of a nearly upright pole ever after, and by how much would be chance.
    """

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until

    def _on_rollout_start(self) -> None:
        env = self.model.get_vec_normalize_env()
        if env and self.num_timesteps >= self.until:
            env.training = False

    def _on_step(self) -> bool:
        return True


class TaskStatistics(BaseCallback):
    """Logs what the task itself reports of an episode, such as its reward terms, over SB3's window of episodes."""

    def __init__(self, env: TensorEnv, window: int) -> None:
        super().__init__()
        self.env = env
        self.episodes: deque[dict[str, float]] = deque(maxlen=window)

    def _on_step(self) -> bool:
        # Isaac Lab reports means over the episodes that ended in this step, in tensors that it uses again.
        if ended := int(self.locals["dones"].sum()):
            self.episodes.extend([{name: float(value) for name, value in self.env.task_log.items()}] * ended)
        return True

    def _on_rollout_end(self) -> None:
        for name in self.episodes[-1] if self.episodes else ():
            values = [episode[name] for episode in self.episodes if name in episode]  # a curriculum may begin later
            self.logger.record(f"task/{name}", safe_mean(values))

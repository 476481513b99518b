"""What happens beside the training: the learning curve, checkpoints, the task's own statistics."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecNormalize

from pipeline.environment import TensorEnv
from pipeline.policy import Policy


class LearningCurve(KVWriter):
    """Collects what SB3 logs as rows, one a point, less the times, which two honest runs may differ in."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row at ``step`` timesteps."""
        values = {key: value for key, value in sorted(key_values.items()) if not key.startswith("time/")}
        self.rows.append({"timesteps": step} | {key: float(value) for key, value in values.items()})

    def summary(self) -> dict[str, float]:
        """Timesteps, and the newest episode return and length in training (noisy actions; not the evaluation's)."""
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


class Checkpoints(BaseCallback):
    """Saves the policy, weights and normalisation, every so many timesteps as ``<folder>/<timesteps>/``."""

    def __init__(self, folder: Path, every: int | None, task: str, settings: dict[str, Any]) -> None:
        super().__init__()
        self.folder = folder
        self.every = every
        self.task = task
        self.settings = settings
        self._saved = 0
        folder.mkdir(parents=True, exist_ok=True)  # DVC wants its outputs to exist, if only empty

    def _on_rollout_start(self) -> None:
        # Here and not at the rollout's end: the update with the last rollout is done.
        if self.every and self.num_timesteps // self.every > self._saved // self.every:
            self.save(self.folder / str(self.num_timesteps))
            self._saved = self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def save(self, folder: Path) -> None:
        """Save the policy as it is now."""
        folder.mkdir(parents=True, exist_ok=True)
        trained_unit(self.model, self.task, self.settings).save(folder)


class TaskStatistics(BaseCallback):
    """Logs what the task itself reports of an episode, such as its reward terms, over SB3's window of episodes."""

    def __init__(self, env: TensorEnv) -> None:
        super().__init__()
        self.env = env

    def _on_training_start(self) -> None:
        self._episodes: deque[dict[str, Any]] = deque(maxlen=self.model._stats_window_size)

    def _on_step(self) -> bool:
        # Isaac Lab reports means over the episodes that ended in this step, in tensors that it uses again.
        if ended := int(self.locals["dones"].sum()):
            self._episodes.extend([{name: float(value) for name, value in self.env.task_log.items()}] * ended)
        return True

    def _on_rollout_end(self) -> None:
        for name in self._episodes[-1] if self._episodes else ():
            self.logger.record(f"task/{name}", safe_mean([episode[name] for episode in self._episodes]))


def trained_unit(model: BaseAlgorithm, task: str, settings: dict[str, Any]) -> Policy:
    """The policy of ``model`` with the normalisation of its environments."""
    env = model.get_vec_normalize_env()
    assert isinstance(model, PPO)
    assert isinstance(env, VecNormalize)
    return Policy.from_sb3(model, env, task=task, agent=settings)

"""A training on toys with all that surrounds it: checkpoints, a learning curve, the task's own statistics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import LogEveryNTimesteps
from stable_baselines3.common.logger import Logger

from pipeline.experiment.resume_store import ResumeStore
from pipeline.policy.policy import FILES, Policy
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.training.callbacks import LearningCurve, TaskStatistics
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.training_state import TrainingState
from tests.toy_env import TensorToy

SETTINGS: dict[str, Any] = {"policy": "MlpPolicy", "n_steps": 8, "batch_size": 16, "n_epochs": 2}
ROLLOUT = 4 * 8  # timesteps
UPDATES = 2 * 2  # optimizer steps of a rollout: two mini-batches, two epochs


class ResumableToy(TensorToy):
    """A toy that draws all from one seed, as Isaac Lab does, and says what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Any] = []
        self.task_log = {"reward": torch.tensor(1.5)}
        self.task: Any = self.unwrapped
        self.task.common_step_counter = 0
        self.task.termination_manager = SimpleNamespace(_last_episode_dones=torch.ones(4, 2))

    def seed(self, seed: int | None = None) -> Any:
        self.done.append(("seed", seed))
        assert seed is not None
        torch.manual_seed(seed)
        for number, env in enumerate(self.unwrapped.envs):  # type: ignore[attr-defined]
            env.np_random = np.random.default_rng(seed + number)

    def reset(self) -> Any:
        self.done.append("reset")
        self.returns[:], self.lengths[:] = 0, 0
        return super().reset()

    def randomize_episode_lengths(self) -> None:
        self.done.append("scatter")

    def step_wait(self) -> Any:
        self.task.common_step_counter += 1
        return super().step_wait()


class Training:
    """PPO on toys with all that surrounds it, and checkpoints in ``folder``."""

    def __init__(self, folder: Path, every: int | None = ROLLOUT) -> None:
        self.toy = ResumableToy()
        self.folder = folder
        env: Any = TensorNormalize(self.toy)  # type: ignore[arg-type]
        arguments: dict[str, Any] = SETTINGS | {"env": env, "learning_rate": 0.01, "stats_window_size": 5}
        self.model: Any = TensorPPO(**arguments, seed=3, device="cpu")
        self.curve, self.logging = LearningCurve(), LogEveryNTimesteps(48)
        self.task = TaskStatistics(self.toy, 5)  # type: ignore[arg-type]
        self.model.set_logger(Logger(None, [self.curve]))
        self.state = TrainingState(self.model, self.curve, self.logging, self.task)
        self.store = ResumeStore(folder, {}, FILES)
        self.saver = Checkpoints(folder / "models", every, self.policy, self.store, self.state)

    def learn(self, timesteps: int) -> Training:
        self.saver.begin(timesteps)
        remaining = timesteps - self.model.num_timesteps
        callbacks: Any = [self.saver, self.logging, self.task]
        self.model.learn(remaining, callbacks, log_interval=None, reset_num_timesteps=False)
        return self

    def policy(self) -> Policy:
        return Policy.from_sb3(self.model, self.model.env, "Toy", SETTINGS)

    def saved(self) -> list[int]:
        return sorted(int(path.name) for path in (self.folder / "models").iterdir())

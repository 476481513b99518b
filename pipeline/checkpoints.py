"""Checkpoints: the policy so far, as an output, and in the store all that it takes to go on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from pipeline import interruption
from pipeline.files import write_atomically
from pipeline.policy import FILES, Policy
from pipeline.resume import Progress, start_afresh
from pipeline.store import Store


class Checkpoints(BaseCallback):
    """Saves the policy, weights and normalisation, every so many timesteps as ``<folder>/<timesteps>/``.

    The store takes the same with all else that the training needs to go on, and then every environment starts afresh.
    """

    def __init__(
        self, folder: Path, every: int | None, task: str, settings: dict[str, Any], store: Store, progress: Progress
    ) -> None:
        super().__init__()
        self.folder = folder
        self.every = every
        self.task = task
        self.settings = settings
        self.store = store
        self.progress = progress
        self.newest = 0  # its timesteps
        folder.mkdir(parents=True, exist_ok=True)  # DVC wants its outputs to exist, if only empty

    def _on_rollout_start(self) -> None:
        # Here and not at the rollout's end: the update with the last rollout is done.
        if self.every and self.num_timesteps // self.every > self.newest // self.every:
            self.newest = self.num_timesteps
            policy = self.policy()
            policy.save(self.folder / str(self.newest))
            self.store.save(self.newest, policy.files | self.progress.files())
            start_afresh(self.progress.model)

    def _on_step(self) -> bool:
        interruption.check()
        return True

    def policy(self) -> Policy:
        """The policy as it is now."""
        return trained_unit(self.progress.model, self.task, self.settings)

    def begin(self) -> None:
        """Put the training where the newest whole checkpoint in the store left it, or at its beginning."""
        usable = self.store.usable()
        if (newest := self.store.newest()) and newest not in usable:
            print(f"train: the checkpoint at {newest:,} timesteps is damaged, and is not used")
        files: dict[str, bytes] = {}
        for timesteps in usable:
            files = self.store.read(timesteps)
            for name in FILES:
                write_atomically(self.folder / str(timesteps) / name, files[name])
        if usable:
            self.newest = usable[-1]
            self.progress.restore(Policy.load(self.folder / str(self.newest)), files)
            print(f"train: goes on from the checkpoint at {self.newest:,} timesteps")
        self.progress.model.env.venv.reset()  # Isaac Lab's first, which leaves all joints at rest
        start_afresh(self.progress.model)


def trained_unit(model: PPO, task: str, settings: dict[str, Any]) -> Policy:
    """The policy of ``model`` with the normalisation of its environments."""
    env = model.get_vec_normalize_env()
    assert isinstance(env, VecNormalize)
    return Policy.from_sb3(model, env, task=task, agent=settings)

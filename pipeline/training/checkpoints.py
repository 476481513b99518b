"""Checkpoints: the policy so far, as an output, and in the resume store all that it takes to go on from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from pipeline.experiment import interruption
from pipeline.experiment.files import write_atomically
from pipeline.experiment.resume_store import ResumeStore
from pipeline.policy.policy import FILES, Policy
from pipeline.training.training_state import TrainingState, start_afresh


class Checkpoints(BaseCallback):
    """Saves the policy, weights and normalisation, as ``<folder>/<timesteps>/``, and the training's state in the store.

    After a checkpoint every environment starts afresh, so that a training that goes on from it does the same.

    Args:
        folder: Where the policies go.
        every: Timesteps from one checkpoint to the next; None for no checkpoints.
        policy: Returns the policy as it is now.
        store: Where the state goes.
        state: The state of the training.
    """

    def __init__(
        self, folder: Path, every: int | None, policy: Callable[[], Policy], store: ResumeStore, state: TrainingState
    ) -> None:
        super().__init__()
        self.folder = folder
        self.every = every
        self.policy = policy
        self.store = store
        self.state = state
        self.newest = 0  # its timesteps
        folder.mkdir(parents=True, exist_ok=True)  # DVC wants its outputs to exist, if only empty

    def _on_rollout_start(self) -> None:
        # Here and not at the rollout's end: the update with the last rollout is done.
        if self.every and self.num_timesteps // self.every > self.newest // self.every:
            self.newest = self.num_timesteps
            policy = self.policy()
            policy.save(self.folder / str(self.newest))
            self.store.save(self.newest, policy.files | self.state.files())
            start_afresh(self.state.model)

    def _on_step(self) -> bool:
        interruption.check()
        return True

    def begin(self) -> None:
        """Start the training at the newest intact checkpoint in the store, or at its beginning."""
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
            self.state.restore(Policy.load(self.folder / str(self.newest)), files)
            print(f"train: goes on from the checkpoint at {self.newest:,} timesteps")
        self.state.model.env.venv.reset()  # Isaac Lab's first, which leaves all joints at rest
        start_afresh(self.state.model)

"""Checkpoints: the policy so far, as an output, and in the resume store all that it takes to go on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from pipeline.experiment import interruption
from pipeline.experiment.errors import UserError
from pipeline.experiment.files import write_atomically
from pipeline.experiment.resume_store import ResumeStore
from pipeline.policy.policy import FILES, Policy, PolicyError
from pipeline.training.optimizer_state import OPTIMIZER_FILE
from pipeline.training.training_state import PROGRESS, TrainingState, start_afresh


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

    def begin(self, end: int) -> None:
        """Start a training of ``end`` timesteps at its newest checkpoint in the store, or at its beginning.

        Raises:
            UserError: If the checkpoint is whole, and yet not one of this training.
        """
        intact = self._intact(end)
        if unused := self.store.set_aside(intact):
            print(f"train: the checkpoint at {unused[-1]:,} timesteps is damaged, and is not used")
        for timesteps, files in intact.items():
            for name in FILES:
                write_atomically(self.folder / str(timesteps) / name, files[name])
            self.newest = timesteps
        if intact:
            self._restore(intact[self.newest])
            print(f"train: goes on from the checkpoint at {self.newest:,} timesteps")
        self.state.model.env.venv.reset()  # Isaac Lab's first, which leaves all joints at rest
        start_afresh(self.state.model)

    def _intact(self, end: int) -> dict[int, dict[str, bytes]]:
        """Read the checkpoints up to the newest that the training can go on from, by their timesteps, oldest first.

        A policy that is missing or damaged makes what came after it useless, since it is itself among the outputs.
        """
        intact: dict[int, dict[str, bytes]] = {}
        for timesteps in takewhile(self._has_policy, self._schedule(end)):
            intact[timesteps] = self.store.read(timesteps)
        while intact and not intact[max(intact)].keys() >= {OPTIMIZER_FILE, PROGRESS}:
            del intact[max(intact)]
        return intact

    def _schedule(self, end: int) -> Iterator[int]:
        """List the timesteps of the checkpoints of a training: the first rollouts that start past a multiple."""
        rollout = self.state.model.n_steps * self.state.model.n_envs
        timesteps = 0
        while self.every:
            due = (timesteps // self.every + 1) * self.every
            timesteps = -(-due // rollout) * rollout
            if timesteps >= end:
                return
            yield timesteps

    def _has_policy(self, timesteps: int) -> bool:
        """Tell whether the store has the whole policy of this very moment."""
        try:
            return self.store.read(timesteps).keys() >= set(FILES) and (
                Policy.load(self.store.checkpoint(timesteps)).timesteps == timesteps
            )
        except PolicyError:
            return False

    def _restore(self, files: Mapping[str, bytes]) -> None:
        folder = self.store.checkpoint(self.newest)
        try:
            self.state.restore(Policy.load(folder), files)
        except Exception as error:  # whatever a file whose digest is right can hold
            raise UserError(
                f"{folder} is no checkpoint of this training ({error}); delete {folder.parent}, and run the same again"
            ) from None

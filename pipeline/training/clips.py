"""Clips of the running training: the first environments as tiles, every so many timesteps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from pipeline.experiment.params import Camera, TrainVideo
from pipeline.video.camera import add_camera, capture_frames
from pipeline.video.encode import tile, write_mp4

TILES = 64
TILE_WIDTH, TILE_HEIGHT = 160, 60  # pixels


def film_training(cfg: Any, camera: Camera) -> None:
    """Put small cameras beside the environments of the training."""
    add_camera(cfg, camera, width=TILE_WIDTH, height=TILE_HEIGHT)


class Clips(BaseCallback):
    """Writes ``<folder>/<timesteps>.mp4``, a frame a step, of environments with :func:`film_training`'s cameras."""

    def __init__(self, folder: Path, settings: TrainVideo, env: Any) -> None:
        super().__init__()
        self.folder = folder
        self.settings = settings
        self.env = env
        self._next = 0
        self._start = 0
        self._frames: list[np.ndarray] = []

    def _on_step(self) -> bool:
        if not self._frames and self.num_timesteps < self._next:
            return True
        if not self._frames:
            self._start = self.num_timesteps
            self._next = self.num_timesteps + (self.settings.interval or 0)
        self._frames.append(tile(capture_frames(self.env, self.settings.camera)[:TILES]))
        if len(self._frames) == self.settings.length:
            self.write()
        return True

    def _on_training_end(self) -> None:
        self.write()

    def write(self) -> None:
        """Write the clip that is being recorded, if there is one."""
        if self._frames:
            fps = round(1 / self.env.unwrapped.step_dt)
            write_mp4(self.folder / f"{self._start}.mp4", np.stack(self._frames), fps)
            self._frames.clear()

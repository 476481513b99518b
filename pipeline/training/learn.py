"""The training run: PPO's ``learn`` with progress bar, logs and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, LogEveryNTimesteps, ProgressBarCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch.utils.tensorboard.summary import hparams

from pipeline.experiment import interruption
from pipeline.experiment.params import Train
from pipeline.experiment.params_file import flat
from pipeline.experiment.paths import CHECKPOINTS
from pipeline.experiment.provenance import Run
from pipeline.experiment.resume_store import ResumeStore
from pipeline.policy.policy import Policy
from pipeline.ppo.ppo import TensorPPO
from pipeline.training.callbacks import FreezeNormalization, LearningCurve, TaskStatistics
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.clips import Clips
from pipeline.training.training_state import TrainingState


def learn(
    model: TensorPPO,
    policy: Callable[[], Policy],
    train: Train,
    timesteps: int,
    *,
    until: int | None,
    hyperparameters: Mapping[str, Any],
    run: Run,
    store: ResumeStore,
) -> LearningCurve:
    """Train ``model`` to the end, from the beginning or from the newest checkpoint in ``store``.

    Args:
        model: PPO as :func:`pipeline.training.agent.build_ppo` makes it.
        policy: Returns its policy as it is now.
        train: The params' section ``train``.
        timesteps: Length of the training, in all.
        until: Timesteps from which on VecNormalize's statistics stay as they are; None for never.
        hyperparameters: The sections of the params that the training depends on, as plain values, for TensorBoard.
        run: Takes the TensorBoard log, and the policy so far if the run is stopped.
        store: Takes what a stopped training goes on from.

    Returns:
        The points of the learning curve.
    """
    env = model.env.venv
    curve, bar = LearningCurve(), ProgressBarCallback()
    logging, task = LogEveryNTimesteps(train.log_interval), TaskStatistics(env, model._stats_window_size)
    state = TrainingState(model, curve, logging, task)
    checkpoints = Checkpoints(CHECKPOINTS, train.checkpoint_every, policy, store, state)
    board = TensorBoardOutputFormat(str(run.folder))
    show_hyperparameters(board, hyperparameters)
    model.set_logger(Logger(str(run.folder), [board, curve]))
    callbacks: list[BaseCallback] = [checkpoints, logging, bar]
    if train.keep_all_info:
        callbacks.append(task)
    if until:
        callbacks.append(FreezeNormalization(until))
    if train.video.interval:
        callbacks.append(Clips(run.folder / "videos", train.video, env))
    checkpoints.begin(timesteps)
    run.note(resumed_from=checkpoints.newest)
    remaining = timesteps - model.num_timesteps
    try:
        with interruption.deferred():
            # log_interval: the callback logs
            model.learn(remaining, callbacks, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        policy().save(run.folder / "checkpoint")
        print(
            f"train: stopped at {model.num_timesteps:,} timesteps; the policy so far is in {run.folder}/checkpoint; "
            f"the same experiment starts again at {checkpoints.newest:,} timesteps"
        )
        raise
    finally:
        model.logger.close()
        bar.pbar.close()
    return curve


def show_hyperparameters(board: TensorBoardOutputFormat, hyperparameters: Mapping[str, Any]) -> None:
    """Write the hyperparameters for TensorBoard's tab HPARAMS, as ``ppo.learning_rate``.

    SB3's ``HParam`` also writes what columns there are. TensorBoard then takes those of any one run for all: it hides a
    param that this run does not have, and fails where this run has a number and another one a text (``lin_5e-3``).
    """
    values = {
        name: value if type(value) in (int, float, str) else json.dumps(value)
        for name, value in flat(hyperparameters)
        if value != {}
    }
    _, start, _ = hparams(values, {})
    board.writer.file_writer.add_summary(start)  # type: ignore[union-attr]  # it is open

"""The training run: PPO's ``learn`` with progress, logs and checkpoints, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import LogEveryNTimesteps, ProgressBarCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from pipeline import agent, interruption, simulation
from pipeline.callbacks import FreezeNormalization, LearningCurve, TaskStatistics
from pipeline.checkpoints import Checkpoints, trained_unit
from pipeline.clips import Clips
from pipeline.environment import TensorEnv
from pipeline.export import export_onnx, export_sb3
from pipeline.files import write_yaml
from pipeline.metrics import write_metrics, write_rows
from pipeline.params import Params
from pipeline.ppo import TensorPPO
from pipeline.provenance import Run
from pipeline.resume import Progress
from pipeline.store import Store


def learn(
    model: TensorPPO,
    env: TensorEnv,
    params: Params,
    settings: dict[str, Any],
    run: Run,
    checkpoints: Path,
    store: Store,
) -> LearningCurve:
    """Train ``model`` to the end, from the beginning or from the newest checkpoint in ``store``.

    Args:
        model: PPO as :func:`pipeline.agent.build_ppo` makes it.
        env: The environments below its VecNormalize.
        params: The params.
        settings: PPO's settings in full.
        run: Takes the TensorBoard log, and the policy so far if the run is stopped.
        checkpoints: Folder for the checkpoints.
        store: Takes what a stopped training goes on from.

    Returns:
        The points of the learning curve.
    """
    curve, bar = LearningCurve(), ProgressBarCallback()
    logging, task = LogEveryNTimesteps(params.train.log_interval), TaskStatistics(env, model._stats_window_size)
    progress = Progress(model, curve, logging, task)
    saver = Checkpoints(checkpoints, params.train.checkpoint_every, params.sim.task, settings, store, progress)
    model.set_logger(Logger(str(run.folder), [TensorBoardOutputFormat(str(run.folder)), curve]))
    callbacks = [saver, logging, bar]
    if params.train.keep_all_info:
        callbacks.append(task)
    if params.normalize.until:
        callbacks.append(FreezeNormalization(params.normalize.until))
    if params.train.video.interval:
        callbacks.append(Clips(run.folder / "videos", params.train.video, env))
    saver.begin()
    run.note(resumed_from=saver.newest)
    remaining = agent.total_timesteps(params, settings) - model.num_timesteps
    try:
        with interruption.deferred():
            # log_interval: the callback logs
            model.learn(remaining, callbacks, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        saver.policy().save(run.folder / "checkpoint")
        print(
            f"train: stopped at {model.num_timesteps:,} timesteps; the policy so far is in {run.folder}/checkpoint; "
            f"the same experiment starts again at {saver.newest:,} timesteps"
        )
        raise
    finally:
        model.logger.close()
        bar.pbar.close()
    return curve


def write_configurations(folder: Path, params: Params, cfg: Any, settings: dict[str, Any]) -> None:
    """Write the resolved configurations of the environment and the agent, as upstream's ``params/`` folder has them."""
    write_yaml(folder / "env.yaml", simulation.describe(cfg))
    write_yaml(folder / "agent.yaml", agent.describe(params, settings, device=cfg.sim.device))


def write_results(
    models: Path, metrics: Path, model: TensorPPO, params: Params, settings: dict[str, Any], curve: LearningCurve
) -> None:
    """Write the trained unit, its exports, the metrics and the learning curve."""
    policy = trained_unit(model, params.sim.task, settings)
    export_sb3(models, model, policy)
    export_onnx(models / "policy.onnx", policy)
    policy.save(models)
    write_rows(metrics / "learning_curve.csv", curve.rows)
    write_metrics(metrics / "train.json", {**curve.summary(), "policy_sha256": policy.sha256})

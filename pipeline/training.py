"""The training run: PPO's ``learn`` with progress, logs and checkpoints, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import LogEveryNTimesteps, ProgressBarCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from pipeline import agent, simulation
from pipeline.callbacks import Checkpoints, FreezeNormalization, LearningCurve, TaskStatistics, trained_unit
from pipeline.clips import Clips
from pipeline.environment import TensorEnv
from pipeline.export import export_onnx, export_sb3
from pipeline.files import write_yaml
from pipeline.metrics import write_metrics, write_rows
from pipeline.params import Params
from pipeline.ppo import TensorPPO
from pipeline.provenance import Run


def learn(
    model: TensorPPO, env: TensorEnv, params: Params, settings: dict[str, Any], run: Run, checkpoints: Path
) -> LearningCurve:
    """Train ``model`` to the end.

    Args:
        model: PPO as :func:`pipeline.agent.build_ppo` makes it.
        env: The environments below its VecNormalize.
        params: The params.
        settings: PPO's settings in full.
        run: Takes the TensorBoard log, and the policy so far if the run is stopped.
        checkpoints: Folder for the checkpoints.

    Returns:
        The points of the learning curve.
    """
    curve, bar = LearningCurve(), ProgressBarCallback()
    saver = Checkpoints(checkpoints, params.train.checkpoint_every, params.sim.task, settings)
    model.set_logger(Logger(str(run.folder), [TensorBoardOutputFormat(str(run.folder)), curve]))
    callbacks = [saver, LogEveryNTimesteps(params.train.log_interval), bar]
    if params.train.keep_all_info:
        callbacks.append(TaskStatistics(env))
    if params.normalize.until:
        callbacks.append(FreezeNormalization(params.normalize.until))
    if params.train.video.interval:
        callbacks.append(Clips(run.folder / "videos", params.train.video, env))
    try:
        model.learn(agent.total_timesteps(params, settings), callbacks, log_interval=None)  # type: ignore[arg-type]  # None: the callback logs
    except KeyboardInterrupt:
        saver.save(run.folder / "checkpoint")
        print(f"train: stopped at {model.num_timesteps:,} timesteps; the policy so far is in {run.folder}/checkpoint")
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

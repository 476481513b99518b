"""The configuration of the environments, from the params, without starting the simulator."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import isaaclab_tasks  # noqa: F401  (registers the tasks)
from isaaclab.app import validate_launch
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.sim import GroundPlaneCfg
from isaaclab.utils import to_dict
from isaaclab_newton.physics import NewtonCfg
from isaaclab_tasks.utils import resolve_task_config

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.params import Sim
from pipeline.experiment.paths import CARTPOLE
from pipeline.simulation.overrides import override, override_all

PLACES = ("log_dir", "cooked_collider_cache_dir")  # fields that name folders of one machine and user
LONGEST_STEP, LONGEST_EPISODE = 1.0, 1e6  # s
EVENT_MODES = ("prestartup", "startup", "reset", "interval")  # that Isaac Lab's environments apply; others never happen
NVIDIA_CARTPOLE = "/Classic/Cartpole/cartpole.usd"


def configure(sim: Sim, env: Mapping[str, Any], *, num_envs: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Resolve the task's configuration and the settings of the agent that Isaac Lab registers for it.

    Args:
        sim: The params' section ``sim``.
        env: The params' section ``env``: fields of the task's configuration by their dotted paths. They win.
        num_envs: Number of environments.
        seed: Seed of the environments.

    Returns:
        The configuration of the environments, for :func:`pipeline.simulation.launch.running`, and the agent's settings.

    Raises:
        UserError: If there is no such task or agent, the task has no such physics or front end, or ``env`` sets what it
            cannot.
    """
    check_task(sim)
    cfg, agent = _registered(sim)
    cfg.scene.num_envs = num_envs
    cfg.seed = seed
    cfg.sim.device = device = resolve_device(sim.device)
    cfg.compute_final_obs = True  # else SB3 bootstraps time-outs from the observation after the reset
    use_own_cartpole(cfg.scene)
    validate_launch(cfg)  # settles which engine `physx` means, so that `env` can reach its settings
    if sim.deterministic and not _is_exact_anyway(cfg.sim):
        cfg.sim.physics.deterministic = True
    override_all(cfg, env)
    _check_overrides(cfg, (num_envs, seed, device))
    if sim.frontend == "warp":
        _adapt_to_warp(cfg, sim.task)
    return cfg, agent


def check_task(sim: Sim) -> None:
    """Refuse a task, or an agent of it, that Isaac Lab does not register for SB3."""
    for_sb3 = {name: [key for key in spec.kwargs if key.startswith("sb3")] for name, spec in gym.registry.items()}
    agents = {name: keys for name, keys in for_sb3.items() if keys}
    if sim.task not in agents:
        # Every tutorial up to Isaac Lab 2.3 says Isaac-Cartpole-v0.
        near = did_you_mean(sim.task.partition("-v")[0], sorted(agents))
        raise UserError(f"sim.task: Isaac Lab registers no task {sim.task!r} with an SB3 agent; {near}")
    if sim.agent not in agents[sim.task]:
        near = did_you_mean(sim.agent, agents[sim.task])
        raise UserError(f"sim.agent: {sim.task} has no agent configuration {sim.agent!r} for SB3; {near}")


def _registered(sim: Sim) -> tuple[Any, dict[str, Any]]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # upstream prints which files it reads
            return resolve_task_config(sim.task, sim.agent, overrides=[f"physics={sim.physics}"])
    except ValueError as error:
        raise UserError(f"sim.physics: {sim.task} cannot run on {sim.physics}: {error}") from None


def _is_exact_anyway(sim: Any) -> bool:
    """Tell whether results are exact without asking. Newton's are on a CPU, where asking costs seconds."""
    return sim.device == "cpu" and isinstance(sim.physics, NewtonCfg)


def _check_overrides(cfg: Any, of_the_params: tuple[int, int, str]) -> None:
    if None in (cfg.sim, cfg.scene):
        raise UserError("env: sim and scene cannot be null, since nothing runs without them")
    if (cfg.scene.num_envs, cfg.seed, cfg.sim.device) != of_the_params:
        raise UserError(
            "env: scene.num_envs, seed and sim.device follow from other params; "
            "set seed, sim.device, or num_envs in train, evaluate or render"
        )
    for path, value in {
        "sim.dt": cfg.sim.dt,
        "decimation": cfg.decimation,
        "episode_length_s": cfg.episode_length_s,
    }.items():
        if not 0 < value < math.inf:
            raise UserError(f"env.{path} should be a number greater than 0 (given: {value})")
    if cfg.sim.dt * cfg.decimation > LONGEST_STEP or cfg.episode_length_s > LONGEST_EPISODE:
        raise UserError(
            f"env: a step should last at most {LONGEST_STEP} s (sim.dt {cfg.sim.dt} x decimation {cfg.decimation}), "
            f"and an episode {LONGEST_EPISODE} s (episode_length_s {cfg.episode_length_s})"
        )
    for name, term in vars(getattr(cfg, "events", None) or object).items():
        if getattr(term, "mode", "reset") not in EVENT_MODES:
            raise UserError(f"env.events.{name}.mode should be one of {', '.join(EVENT_MODES)} (given: {term.mode!r})")


def _adapt_to_warp(cfg: Any, task: str) -> None:
    from isaaclab_experimental.envs.frontend import FrontendIncompatibleError, WarpFrontend

    if not isinstance(cfg, ManagerBasedRLEnvCfg):
        raise UserError(f"sim.frontend: warp is for manager-based tasks, which {task} is not; take torch")
    try:
        WarpFrontend.adapt_cfg(cfg)
    except FrontendIncompatibleError as error:
        raise UserError(f"sim.frontend: {task} cannot run on warp: {error}; take torch") from None


def resolve_device(device: str) -> str:
    """Name the device that ``sim.device`` means as torch does: ``cpu`` or ``cuda:N``."""
    return "cuda:0" if device == "cuda" else device


def use_own_cartpole(scene: Any) -> None:
    """Take the project's cartpole in place of NVIDIA's, which would be downloaded at run time, and its ground plane.

    The cartpole hangs 2 m above the plane and never touches it.
    """
    robots = [item for item in vars(scene).values() if _usd_path(item).endswith(NVIDIA_CARTPOLE)]
    for robot in robots:
        robot.spawn.usd_path = str(CARTPOLE)
    for name, item in list(vars(scene).items()):
        if robots and isinstance(getattr(item, "spawn", None), GroundPlaneCfg):
            setattr(scene, name, None)


def _usd_path(item: Any) -> str:
    return str(getattr(getattr(item, "spawn", None), "usd_path", ""))


def export_io_descriptors(cfg: Any, folder: Path) -> None:
    """Let Isaac Lab write what the observations and actions mean into ``<folder>/io_descriptors``.

    Raises:
        UserError: If the task is not of the manager-based workflow, the only one that can.
    """
    cfg.log_dir = str(folder)
    override(cfg, "export_io_descriptors", True, parent="train.export_io_descriptors: env")


def describe(cfg: Any) -> dict[str, Any]:
    """Reduce the configuration to plain values, the same in every folder, for every user and on every host."""
    return _plain(to_dict(cfg))


def _plain(value: Any) -> Any:
    """Reduce ``value`` to what every YAML reader knows; what is none of that becomes text, such as a slice."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if key not in PLACES}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)

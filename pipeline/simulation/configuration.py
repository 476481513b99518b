"""The configuration of the environments, from the params, without starting the simulator."""

from __future__ import annotations

import contextlib
import io
import sys
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
from pipeline.experiment.paths import CARTPOLE, GROUND
from pipeline.simulation import projects, tracked
from pipeline.simulation.checks import check_files, check_values
from pipeline.simulation.overrides import override_all
from pipeline.simulation.workarounds import take_own_ground_plane

PLACES = ("log_dir", "cooked_collider_cache_dir")  # fields that name folders of one machine and user
OF_THE_TASK = "task"  # in place of an engine: the one that the task itself sets
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
    take_own_ground_plane(GROUND)
    imported = set(sys.modules)
    projects.register_project(sim.project)
    check_task(sim)
    cfg, agent = _registered(sim)
    projects.check_imports(sim.project, sys.modules.keys() - imported)
    cfg.scene.num_envs = num_envs
    cfg.seed = seed
    cfg.sim.device = device = resolve_device(sim.device)
    cfg.compute_final_obs = True  # else SB3 bootstraps time-outs from the observation after the reset
    use_own_cartpole(cfg.scene)
    validate_launch(cfg)  # settles which engine `physx` means, so that `env` can reach its settings
    if sim.deterministic and not _is_exact_anyway(cfg.sim):
        cfg.sim.physics.deterministic = True
    override_all(cfg, env)
    check_files(cfg, sim.task)
    check_values(cfg, (num_envs, seed, device))
    if sim.frontend == "warp":
        _adapt_to_warp(cfg, sim.task)
    return cfg, agent


def check_task(sim: Sim) -> None:
    """Refuse a task, or an agent of it, that nothing registers for SB3, or that DVC would not see a change of."""
    module, _, task = sim.task.rpartition(":")
    if module:
        tracked.import_tracked("sim.task", module)
    if task not in gym.registry:
        projects.register_installed()
    for_sb3 = {name: [key for key in spec.kwargs if key.startswith("sb3")] for name, spec in gym.registry.items()}
    agents = {name: keys for name, keys in for_sb3.items() if keys}
    if task not in agents:
        # Every tutorial up to Isaac Lab 2.3 says Isaac-Cartpole-v0.
        near = did_you_mean(task.partition("-v")[0], sorted(agents))
        raise UserError(f"sim.task: no task {task!r} is registered with an SB3 agent; {near}")
    if sim.agent not in agents[task]:
        near = did_you_mean(sim.agent, agents[task])
        raise UserError(f"sim.agent: {task} has no agent configuration {sim.agent!r} for SB3; {near}")


def _registered(sim: Sim) -> tuple[Any, dict[str, Any]]:
    overrides = [] if sim.physics == OF_THE_TASK else [f"physics={sim.physics}"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # upstream prints which files it reads
            return resolve_task_config(sim.task, sim.agent, overrides=overrides)
    except ValueError as error:
        raise UserError(
            f"sim.physics: {sim.task} cannot run on {sim.physics}; take {OF_THE_TASK}, or one that it offers ({error})"
        ) from None
    except Exception as error:  # in the task's own code
        reason = f"{type(error).__name__}: {error}{tracked.place_of(error)}"
        raise UserError(f"sim.task: the configuration of {sim.task} cannot be made: {reason}") from None


def _is_exact_anyway(sim: Any) -> bool:
    """Tell whether results are exact without asking. Newton's are on a CPU, where asking costs seconds."""
    return sim.device == "cpu" and isinstance(sim.physics, NewtonCfg)


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
    if not hasattr(cfg, "export_io_descriptors"):
        raise UserError("train.export_io_descriptors: only a manager-based task can write them; set it to false")
    cfg.log_dir, cfg.export_io_descriptors = str(folder), True


def describe(cfg: Any) -> dict[str, Any]:
    """Reduce the configuration to plain values, the same in every folder, for every user and on every host."""
    return _plain(to_dict(cfg))


def _plain(value: Any) -> Any:
    """Reduce ``value`` to what every YAML reader knows; what is none of that becomes text, such as a slice."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if key not in PLACES}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return _without_root(value)
    return value if value is None or type(value) in (bool, int, float) else str(value)


def _without_root(text: str) -> str:
    """Name a file of the project, or of an installed package, the same on every machine."""
    for folder in (tracked.INSTALLED, tracked.INSTALLED.resolve(), Path.cwd()):
        text = text.removeprefix(f"{folder}/")
    return text

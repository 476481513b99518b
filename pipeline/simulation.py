"""Isaac Lab, from the params to a running vector environment."""

from __future__ import annotations

import contextlib
import gc
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import isaaclab_tasks  # noqa: F401  (registers the tasks)
from isaaclab.app import launch_simulation, validate_launch
from isaaclab.envs import DirectMARLEnvCfg, ManagerBasedRLEnvCfg
from isaaclab.sim import GroundPlaneCfg
from isaaclab.utils import to_dict
from isaaclab_newton.physics import NewtonCfg
from isaaclab_rl.entrypoints.common import request_warp_determinism
from isaaclab_tasks.utils import resolve_task_config

from pipeline.environment import TensorEnv
from pipeline.errors import UserError
from pipeline.overrides import override
from pipeline.params import Params, Sim
from pipeline.workarounds import allow_pinned_arrays_without_cuda, step_physx_on_the_calling_thread

CARTPOLE = Path("assets/cartpole.usda")
PLACES = ("log_dir", "cooked_collider_cache_dir")  # fields that name folders of one machine and user
NVIDIA_CARTPOLE = "/Classic/Cartpole/cartpole.usd"


def configure(params: Params, *, num_envs: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Resolve the task's configuration and the registered agent's settings, without starting the simulator.

    Args:
        params: The params; ``env`` has the last word.
        num_envs: Number of environments.
        seed: Seed of the environments.

    Returns:
        The configuration of the environment, ready for :func:`running`, and the agent's settings as registered.

    Raises:
        UserError: If the task has no such physics or front end, or ``env`` sets what it cannot.
    """
    cfg, agent = _registered(params.sim)
    cfg.scene.num_envs = num_envs
    cfg.seed = seed
    cfg.sim.device = device = resolve_device(params.sim.device)
    cfg.compute_final_obs = True  # else SB3 bootstraps time-outs from the observation after the reset
    use_own_cartpole(cfg.scene)
    validate_launch(cfg)  # settles which engine `physx` means, so that `env` can reach its settings
    if params.sim.deterministic and not _is_exact_anyway(cfg.sim):
        cfg.sim.physics.deterministic = True
    for path, value in params.env.items():
        override(cfg, path, value)
    _check_overrides(cfg, (num_envs, seed, device))
    if params.sim.frontend == "warp":
        _adapt_to_warp(cfg, params.sim.task)
    return cfg, agent


def _registered(sim: Sim) -> tuple[Any, dict[str, Any]]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # upstream prints which files it reads
            return resolve_task_config(sim.task, sim.agent, overrides=[f"physics={sim.physics}"])
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"sim.physics: {sim.task} cannot run on {sim.physics}: {reason}") from None


def _is_exact_anyway(sim: Any) -> bool:
    """On a CPU, Warp and so Newton do it all in one thread, in order; the request would cost seconds of each start."""
    return sim.device == "cpu" and isinstance(sim.physics, NewtonCfg)


def _check_overrides(cfg: Any, of_the_params: tuple[int, int, str]) -> None:
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


def _adapt_to_warp(cfg: Any, task: str) -> None:
    from isaaclab_experimental.envs.frontend import FrontendIncompatibleError, WarpFrontend

    if not isinstance(cfg, ManagerBasedRLEnvCfg):
        raise UserError(f"sim.frontend: warp is for manager-based tasks, which {task} is not; take torch")
    try:
        WarpFrontend.adapt_cfg(cfg)
    except FrontendIncompatibleError as error:
        raise UserError(
            f"sim.frontend: {task} cannot run on warp: {' '.join(str(error).split())}; take torch"
        ) from None


def resolve_device(device: str) -> str:
    """The device that ``sim.device`` means, as torch names it: ``cpu`` or ``cuda:N``."""
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
    """The configuration as plain values, the same in every folder, for every user and on every host."""
    return _plain(to_dict(cfg))


def _plain(value: Any) -> Any:
    """Reduce ``value`` to what every YAML reader knows; what is none of that becomes text, such as a slice."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if key not in PLACES}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


@contextlib.contextmanager
def running(params: Params, cfg: Any, log: Path) -> Iterator[TensorEnv]:
    """Start the simulator with the configuration ``cfg`` of :func:`configure`; one simulator a process.

    Args:
        params: The params.
        cfg: The configuration of :func:`configure`.
        log: Takes the tables that Isaac Lab prints while it starts.

    Yields:
        SB3's view of the environments, as tensors: actions are within [-1, 1].

    Raises:
        UserError: If a file that the task needs is not here, nor where it would be downloaded from.
    """
    allow_pinned_arrays_without_cuda()
    step_physx_on_the_calling_thread()
    if params.sim.deterministic and cfg.sim.device != "cpu":  # Warp is exact on a CPU
        request_warp_determinism(cfg.sim.physics)
    print(f"{cfg.scene.num_envs} environments of {params.sim.task} on {cfg.sim.device}; the simulator's log: {log}")
    with launch_simulation(cfg), log.open("w") as file:
        try:
            with contextlib.redirect_stdout(file):
                env = _make(params.sim, cfg)
        except FileNotFoundError as error:
            raise UserError(f"sim.task: {params.sim.task} needs a file that is not here: {error}") from None
        gc.freeze()  # what there is now stays, and is not searched for garbage again
        gc.enable()
        try:
            yield TensorEnv(env)
        finally:
            env.close()


def _make(sim: Sim, cfg: Any) -> Any:
    if sim.frontend == "warp":
        from pipeline.warp_frontend import WarpEnv

        return WarpEnv(cfg)
    env: Any = gym.make(sim.task, cfg=cfg)
    if isinstance(cfg, DirectMARLEnvCfg):
        from isaaclab.envs import multi_agent_to_single_agent

        return multi_agent_to_single_agent(env)
    return env

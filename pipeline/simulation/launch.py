"""Starting the simulator: one in a process."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
from isaaclab.app import launch_simulation
from isaaclab.envs import DirectMARLEnvCfg
from isaaclab_rl.entrypoints.common import request_warp_determinism

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Sim
from pipeline.simulation.tensor_env import TensorEnv
from pipeline.simulation.tracked import place_of
from pipeline.simulation.workarounds import allow_pinned_arrays_without_cuda, step_physx_on_the_calling_thread


@contextlib.contextmanager
def running(sim: Sim, cfg: Any, log: Path) -> Iterator[TensorEnv]:
    """Start the simulator, and close it at the end of the block.

    Args:
        sim: The params' section ``sim``.
        cfg: The environments' configuration, from :func:`pipeline.simulation.configuration.configure`.
        log: The file for the tables that Isaac Lab prints while it starts.

    Yields:
        The environments as SB3 sees them, with tensors. Actions are within [-1, 1].

    Raises:
        UserError: If the simulator does not start; the log says where it failed.
    """
    allow_pinned_arrays_without_cuda()
    step_physx_on_the_calling_thread()
    if sim.deterministic and cfg.sim.device != "cpu":  # Warp is exact on a CPU
        request_warp_determinism(cfg.sim.physics)
    print(f"{cfg.scene.num_envs} environments of {sim.task} on {cfg.sim.device}; the simulator's log: {log}")
    log.parent.mkdir(parents=True, exist_ok=True)
    with launch_simulation(cfg), log.open("w") as file:
        try:
            with contextlib.redirect_stdout(file):
                env = TensorEnv(_make(sim, cfg))
        except Exception as error:
            traceback.print_exc(file=file)
            reason = f"{type(error).__name__}: {error}{place_of(error)}"
            remedy = f"look at what env changes, and at the task's own files ({log} says more)"
            raise UserError(f"{sim.task} does not start with these sim and env: {reason}; {remedy}") from None
        gc.freeze()  # what there is now stays, and is not searched for garbage again
        gc.enable()
        try:
            yield env
        finally:
            env.close()


def _make(sim: Sim, cfg: Any) -> Any:
    if sim.frontend == "warp":
        from pipeline.simulation.warp_env import WarpEnv

        return WarpEnv(cfg)
    env: Any = gym.make(sim.task, cfg=cfg)
    if isinstance(cfg, DirectMARLEnvCfg):
        from isaaclab.envs import multi_agent_to_single_agent

        return multi_agent_to_single_agent(env)
    return env

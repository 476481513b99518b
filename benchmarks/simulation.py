"""The simulation alone, with random actions: the limit of all trainers. A process; prints steps a second.

The environments are at random steps of their episodes, as in a training, so that some are reset at every step.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch

from benchmarks.processes import Machine, params_on
from pipeline.simulation import configuration, launch

WARM_UP, STEPS, ACTIONS = 50, 300, 64


def main(frontend: str, physics: str, device: str, num_envs: str) -> None:
    """Step so many environments."""
    params = params_on(Machine(device, physics), frontend=frontend, deterministic=False)
    cfg, _ = configuration.configure(params.sim, params.env, num_envs=int(num_envs), seed=params.seed)
    with launch.running(params.sim, cfg, Path(os.devnull)) as env:
        env.reset()
        env.randomize_episode_lengths()
        # Not one for all steps: the carts would soon be at the ends of their rails.
        actions = torch.rand(ACTIONS, env.num_envs, *(env.action_space.shape or ()), device=device) * 2 - 1
        for step in range(WARM_UP):
            env.step(actions[step % ACTIONS])
        _synchronize(device)
        started = time.perf_counter()
        for step in range(STEPS):
            env.step(actions[step % ACTIONS])
        _synchronize(device)
        print(env.num_envs * STEPS / (time.perf_counter() - started))


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(*sys.argv[1:])

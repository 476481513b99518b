"""A policy that acts on cartpoles with its observations, its actions, and the cartpoles themselves, disturbed."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.simulation.tensor_env import PolicyFn, TensorEnv
from tools.perturbations.bodies import per_environment
from tools.perturbations.factors import DELAY, FACTORS, FORCE, GROUPS, NOISE, PUSH

PUSHES_A_SECOND = 1.0  # in the mean


class PerturbedPolicy:
    """A policy for environments in groups of ``size``, in which every group plays the same episodes.

    They begin with the same starts, and their noise and their pushes differ by their size alone, so that groups can be
    compared. It acts for one episode of each environment, from the first call on.
    """

    def __init__(self, policy: PolicyFn, env: TensorEnv, robot: Any, *, size: int, seed: int) -> None:
        self.policy, self.env, self.robot, self.size = policy, env, robot, size
        self.generator = torch.Generator().manual_seed(seed)
        self.force, self.delay, self.noise, self.push = (
            per_environment(name, size, env.sim_device) for name in (FORCE, DELAY, NOISE, PUSH)
        )
        self.past: list[torch.Tensor] = []  # actions [num_envs, actions], the last one first

    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        """Disturb, and act: from observations ``[num_envs, observations]`` to actions ``[num_envs, actions]``."""
        if not self.past:
            observations = self._start_alike(observations)
        self._push()
        actions = self.policy(observations + self.noise[:, None] * self._normal(observations.shape[1]))
        longest = int(max(FACTORS[DELAY].values))
        # Before the first action there was none.
        self.past = [actions, *(self.past or [torch.zeros_like(actions)] * longest)][: longest + 1]
        delayed = torch.stack(self.past)[self.delay.long(), torch.arange(len(actions))]
        return delayed * self.force[:, None]

    def _start_alike(self, observations: torch.Tensor) -> torch.Tensor:
        """Give every group the starts of the first one; return what they observe."""
        state = self.env.task.scene.get_state(is_relative=True)
        starts = {
            name: {key: values[: self.size].repeat(len(GROUPS), 1) for key, values in entity.items()}
            for name, entity in state["articulation"].items()
        }
        self.env.task.scene.reset_to({**state, "articulation": starts}, is_relative=True)
        return observations[: self.size].repeat(len(GROUPS), 1)

    def _push(self) -> None:
        """Change the velocities of cart and pole at random steps, as a blow does."""
        velocities = self.robot.data.joint_vel.torch
        now = torch.rand(self.size, generator=self.generator) < PUSHES_A_SECOND * self.env.task.step_dt
        change = self.push[:, None] * self._normal(velocities.shape[1])
        hit = (now.to(change.device).repeat(len(GROUPS)) & (self.push > 0)).nonzero().flatten()
        if len(hit):
            self.robot.write_joint_velocity_to_sim_index(velocity=velocities[hit] + change[hit], env_ids=hit.int())

    def _normal(self, columns: int) -> torch.Tensor:
        """Draw from a normal distribution for one group, and repeat it for all: ``[num_envs, columns]``."""
        drawn = torch.randn(self.size, columns, generator=self.generator)
        return drawn.repeat(len(GROUPS), 1).to(self.env.sim_device)

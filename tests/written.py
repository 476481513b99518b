"""Environments that go through trajectories which are written down, for tests of what is measured in them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from pipeline.simulation.tensor_env import EpisodeEnd

STEP_SECONDS = 0.25  # four steps in the last second


class Step(NamedTuple):
    """The state before a step of one environment, and what the step brings."""

    angle: float  # of the pole [degrees]
    cart: float = 0.0  # [m]
    reward: float = 1.0
    effort: float = 0.0  # [N]
    end: str = ""  # of the episode: "terminated", "time-out", "both", or not yet


def episode(angles: list[float], end: str = "time-out", cart: float = 0.0) -> list[Step]:
    """Steps with these angles, of which the last ends the episode."""
    steps = [Step(angle, cart) for angle in angles]
    return [*steps[:-1], steps[-1]._replace(end=end)]


class Written:
    """An environment for each of ``trajectories``, which it goes through again and again."""

    def __init__(self, *trajectories: list[Step], joints: tuple[str, ...] = ("cart_to_pole", "slider_to_cart")) -> None:
        self.trajectories, self.joints, self.num_envs = trajectories, joints, len(trajectories)
        self.resets, self.actions = 0, []
        position, effort = (SimpleNamespace(torch=torch.zeros(self.num_envs, len(joints))) for _ in range(2))
        self.data = SimpleNamespace(joint_pos=position, joint_effort_target=effort)
        lamp = SimpleNamespace(joint_names=[])
        robot = SimpleNamespace(joint_names=list(joints), data=self.data)
        scene = SimpleNamespace(articulations={"lamp": lamp, "robot": robot})
        self.unwrapped = self.task = SimpleNamespace(scene=scene, step_dt=STEP_SECONDS, device="cpu")

    def reset(self) -> torch.Tensor:
        """Go to the start of all trajectories."""
        self.resets += 1
        self.time = 0
        return self._observe()

    def reset_twice(self) -> torch.Tensor:
        self.reset()
        return self.reset()

    def step(self, actions: torch.Tensor) -> Any:
        """Take the step that is written down, whatever the actions."""
        self.actions.append(actions)
        now = self._now()
        self._put(self.data.joint_effort_target, "slider_to_cart", [step.effort for step in now])
        self.time += 1
        terminated = torch.tensor([step.end in ("terminated", "both") for step in now])
        dones = torch.tensor([bool(step.end) for step in now])
        ended = EpisodeEnd(terminated, dones & ~terminated, *[torch.full((self.num_envs,), torch.nan)] * 4)
        return self._observe(), torch.tensor([step.reward for step in now]), dones, ended

    def _now(self) -> list[Step]:
        return [trajectory[self.time % len(trajectory)] for trajectory in self.trajectories]

    def _observe(self) -> torch.Tensor:
        """Put the joints where they are before the next step; the observations are the poles' angles."""
        angles = [math.radians(step.angle) for step in self._now()]
        self._put(self.data.joint_pos, "cart_to_pole", angles)
        self._put(self.data.joint_pos, "slider_to_cart", [step.cart for step in self._now()])
        return torch.tensor(angles).view(-1, 1)

    def _put(self, target: Any, joint: str, values: list[float]) -> None:
        if joint in self.joints:
            target.torch[:, self.joints.index(joint)] = torch.tensor(values)

"""Isaac Lab's environments as SB3 sees them, with all numbers as tensors on the simulator's device."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from isaaclab_rl.sb3 import Sb3VecEnvWrapper


class Ended(NamedTuple):
    """What a step says of the environments whose episode has ended; the rows of the others mean nothing."""

    terminated: torch.Tensor  # bool [num_envs]: ended by the task
    time_outs: torch.Tensor  # bool [num_envs]: ended by the clock alone, so that the value of what follows counts
    final_observations: torch.Tensor  # [num_envs, observations], before the reset
    returns: torch.Tensor  # [num_envs], without discount
    lengths: torch.Tensor  # [num_envs], steps
    whole: torch.Tensor  # bool [num_envs]: the episode began at its beginning, so that those two mean something


# Observations, rewards, dones, and what has ended.
Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor, Ended]


class TensorEnv(Sb3VecEnvWrapper):
    """Isaac Lab's wrapper for SB3 without its copies to the host and its list of ``infos``.

    ``step`` takes actions ``[num_envs, actions]`` and returns observations ``[num_envs, observations]`` (of the next
    episode where one has ended), rewards and dones ``[num_envs]``, and :class:`Ended` in place of ``infos``. All are
    tensors that the next step may overwrite.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._returns = torch.zeros(self.num_envs, device=self.sim_device)
        self._lengths = torch.zeros(self.num_envs, device=self.sim_device)
        self._whole = torch.ones(self.num_envs, dtype=torch.bool, device=self.sim_device)
        self.task_log: dict[str, Any] = {}  # what the task reports of the episodes that ended in the last step

    def reset(self) -> torch.Tensor:  # type: ignore[override]  # a tensor
        """Start an episode in every environment."""
        observations, _ = cast(Any, self.env).reset()
        self._returns.zero_()
        self._lengths.zero_()
        self._whole.fill_(True)
        return observations["policy"]

    def scatter_ages(self) -> None:
        """Let the environments be at random steps of their episodes, as rsl_rl begins a training.

        In step with each other, all would show the same phase of the episode in every rollout.
        """
        ages = self.unwrapped.episode_length_buf
        ages[:] = torch.randint_like(ages, self.unwrapped.max_episode_length)
        self._whole.fill_(False)

    def step(self, actions: torch.Tensor) -> Step:  # type: ignore[override]  # tensors
        """Take a step in every environment."""
        self.step_async(actions)  # type: ignore[arg-type]  # a tensor
        return self.step_wait()

    def step_wait(self) -> Step:  # type: ignore[override]  # tensors
        """Take the step that :meth:`step_async` was given the actions of."""
        observations, rewards, terminated, truncated, extras = cast(Any, self.env).step(self._async_actions)
        self.task_log = extras.get("log", {})
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        ended = Ended(
            terminated=terminated,
            time_outs=truncated & ~terminated,
            final_observations=extras.get("final_obs", observations)["policy"],
            returns=self._returns,
            lengths=self._lengths,
            whole=self._whole,
        )
        self._returns = torch.where(dones, 0.0, self._returns)
        self._lengths = torch.where(dones, 0.0, self._lengths)
        self._whole = self._whole | dones
        return observations["policy"], rewards, dones, ended

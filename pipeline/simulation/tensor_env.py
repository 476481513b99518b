"""Isaac Lab's environments behind SB3's interface, with all numbers as tensors on the simulator's device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from isaaclab_rl.sb3 import Sb3VecEnvWrapper


class EpisodeEnd(NamedTuple):
    """The episodes that ended in a step. Rows of environments whose episode goes on mean nothing."""

    terminated: torch.Tensor  # bool [num_envs]: ended by the task
    time_outs: torch.Tensor  # bool [num_envs]: ended by the time limit alone, so that the value bootstraps
    final_observations: torch.Tensor  # [num_envs, observations], before the reset
    returns: torch.Tensor  # [num_envs], without discount
    lengths: torch.Tensor  # [num_envs], steps
    full: torch.Tensor  # bool [num_envs]: the episode began at step 0; else returns and lengths are of a part of it


# Observations [num_envs, observations] to actions [num_envs, actions].
PolicyFn = Callable[[torch.Tensor], torch.Tensor]
# Observations, rewards, dones, and the episodes that ended.
Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor, EpisodeEnd]


class TensorEnv(Sb3VecEnvWrapper):
    """Isaac Lab's wrapper for SB3 without its copies to the host and its list of ``infos``.

    ``step`` takes actions ``[num_envs, actions]`` and returns observations ``[num_envs, observations]`` (of the next
    episode where one has ended), rewards and dones ``[num_envs]``, and an :class:`EpisodeEnd` in place of ``infos``.
    The next step may overwrite all of these tensors.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._returns = torch.zeros(self.num_envs, device=self.sim_device)
        self._lengths = torch.zeros(self.num_envs, device=self.sim_device)
        self._full_episode = torch.ones(self.num_envs, dtype=torch.bool, device=self.sim_device)
        self.task_log: dict[str, Any] = {}  # what the task reports of the episodes that ended in the last step

    @property
    def task(self) -> Any:
        """The task's own environments, which of a multi-agent task lie behind those of the single agent."""
        return vars(self.unwrapped).get("env", self.unwrapped)

    def reset(self) -> torch.Tensor:  # type: ignore[override]  # a tensor
        """Start an episode in every environment."""
        observations, _ = cast(Any, self.env).reset()
        self._returns.zero_()
        self._lengths.zero_()
        self._full_episode.fill_(True)
        return observations["policy"]

    def reset_twice(self) -> torch.Tensor:
        """Start an episode in every environment, with joint velocities drawn too.

        Isaac Lab's first reset leaves all joints at rest; only the second draws their velocities.
        """
        self.reset()
        return self.reset()

    def randomize_episode_lengths(self) -> None:
        """Set the environments to random steps of their episodes, as rsl_rl begins a training.

        Otherwise all would show the same phase of the episode in every rollout.
        """
        lengths = self.unwrapped.episode_length_buf
        lengths[:] = torch.randint_like(lengths, self.unwrapped.max_episode_length)
        self._full_episode.fill_(False)

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
        ended = EpisodeEnd(
            terminated=terminated,
            time_outs=truncated & ~terminated,
            final_observations=extras.get("final_obs", observations)["policy"],
            returns=self._returns,
            lengths=self._lengths,
            full=self._full_episode,
        )
        self._returns = torch.where(dones, 0.0, self._returns)
        self._lengths = torch.where(dones, 0.0, self._lengths)
        self._full_episode = self._full_episode | dones
        return observations["policy"], rewards, dones, ended

"""A rollout as tensors on the device: SB3's RolloutBuffer with the same numbers in the same order."""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from pipeline.environment import Ended


class Rollout:
    """``n_steps`` steps of ``num_envs`` environments; every tensor starts with ``[num_envs, n_steps]``."""

    def __init__(
        self, n_steps: int, num_envs: int, observations: tuple[int, ...], actions: tuple[int, ...], device: torch.device
    ) -> None:
        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(num_envs, n_steps, *shape, dtype=dtype, device=device)

        self.n_steps = n_steps
        self.observations, self.actions = empty(*observations), empty(*actions)
        self.rewards = empty()
        self.dones, self.time_outs = empty(dtype=torch.bool), empty(dtype=torch.bool)
        self.whole_episodes = empty(dtype=torch.bool)
        self.final_observations = empty(*observations)
        self.episode_returns, self.episode_lengths = empty(), empty()
        self.estimates = empty(4)  # side by side, so that a mini-batch takes them all at once
        self.values, self.log_probs, self.advantages, self.returns = self.estimates.unbind(-1)

    def add_actions(self, step: int, observations: torch.Tensor, actions: torch.Tensor) -> None:
        """Record what was seen, and done about it."""
        self.observations[:, step], self.actions[:, step] = observations, actions

    def add_outcome(self, step: int, rewards: torch.Tensor, dones: torch.Tensor, ended: Ended) -> None:
        """Record what came of it, and which episodes ended."""
        self.rewards[:, step] = rewards
        self.dones[:, step], self.time_outs[:, step] = dones, ended.time_outs
        self.final_observations[:, step] = ended.final_observations
        self.whole_episodes[:, step] = dones & ended.whole
        self.episode_returns[:, step], self.episode_lengths[:, step] = ended.returns, ended.lengths

    @torch.no_grad()
    def finish(
        self, policy: ActorCriticPolicy, last_observations: torch.Tensor, gamma: float, gae_lambda: float
    ) -> None:
        """Compute values, log-probabilities, advantages and returns.

        All steps at once, where SB3 does it step by step; a time-out is worth what the final observation is.

        Args:
            policy: The policy that has acted.
            last_observations: What follows the last step ``[num_envs, observations]``.
            gamma: Discount of a step.
            gae_lambda: Weight of longer estimates (https://arxiv.org/abs/1506.02438).
        """
        values, log_probs, _ = policy.evaluate_actions(self.observations.flatten(0, 1), self.actions.flatten(0, 1))
        self.values.copy_(values.view_as(self.values))
        self.log_probs.copy_(log_probs.view_as(self.log_probs))
        beyond = policy.predict_values(self.final_observations.flatten(0, 1)).view_as(self.rewards)
        self.rewards += torch.where(self.time_outs, gamma * beyond, 0.0)
        next_values = policy.predict_values(last_observations).flatten()
        advantage = torch.zeros_like(next_values)
        for step in reversed(range(self.n_steps)):
            going_on = 1.0 - self.dones[:, step].float()
            delta = self.rewards[:, step] + gamma * next_values * going_on - self.values[:, step]
            advantage = delta + gamma * gae_lambda * going_on * advantage
            self.advantages[:, step] = advantage
            next_values = self.values[:, step]
        torch.add(self.advantages, self.values, out=self.returns)

    def order(self) -> torch.Tensor:
        """The numbers of all samples in a random order."""
        return torch.randperm(self.values.numel(), device=self.values.device)

    def samples(self, numbers: torch.Tensor) -> RolloutBufferSamples:
        """Samples by their numbers: those of the first environment in the order of time, then the second's (as SB3).

        Args:
            numbers: Of any shape, which is that of every field before its own.
        """
        tensors = (self.observations, self.actions, self.estimates)
        observations, actions, estimates = (tensor.flatten(0, 1)[numbers] for tensor in tensors)
        return RolloutBufferSamples(observations, actions, *estimates.unbind(-1))

    def episodes(self, most: int) -> list[dict[str, float]]:
        """Return ``r`` and length ``l`` of the newest whole episodes that ended here, at most so many, oldest first."""
        ended = self.whole_episodes.T
        returns, lengths = self.episode_returns.T[ended][-most:], self.episode_lengths.T[ended][-most:]
        return [{"r": value, "l": length} for value, length in zip(returns.tolist(), lengths.tolist(), strict=True)]

"""A rollout as tensors on the device: SB3's RolloutBuffer with the same values in the same order."""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from pipeline.simulation.tensor_env import EpisodeEnd


class TensorRolloutBuffer:
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
        self.full_episodes = empty(dtype=torch.bool)
        self.final_observations = empty(*observations)
        self.episode_returns, self.episode_lengths = empty(), empty()
        self.estimates = empty(4)  # side by side, so that a mini-batch takes them all at once
        self.values, self.log_probs, self.advantages, self.returns = self.estimates.unbind(-1)

    def add_actions(self, step: int, observations: torch.Tensor, actions: torch.Tensor) -> None:
        """Record the observations of a step and the actions taken on them."""
        self.observations[:, step], self.actions[:, step] = observations, actions

    def add_outcome(self, step: int, rewards: torch.Tensor, dones: torch.Tensor, ended: EpisodeEnd) -> None:
        """Record the rewards of a step and the episodes that ended."""
        self.rewards[:, step] = rewards
        self.dones[:, step], self.time_outs[:, step] = dones, ended.time_outs
        self.final_observations[:, step] = ended.final_observations
        self.full_episodes[:, step] = dones & ended.full
        self.episode_returns[:, step], self.episode_lengths[:, step] = ended.returns, ended.lengths

    @torch.no_grad()
    def compute_returns_and_advantages(
        self, policy: ActorCriticPolicy, last_observations: torch.Tensor, gamma: float, gae_lambda: float
    ) -> None:
        """Compute values, log-probabilities, advantages and returns.

        The policy evaluates all steps at once, where SB3 does so step by step. The reward of a time-out takes in the
        value of the episode's final observation.

        Args:
            policy: The policy that chose the actions.
            last_observations: Observations after the last step ``[num_envs, observations]``.
            gamma: Discount of a step.
            gae_lambda: Lambda of generalized advantage estimation (https://arxiv.org/abs/1506.02438).
        """
        values, log_probs, _ = policy.evaluate_actions(self.observations.flatten(0, 1), self.actions.flatten(0, 1))
        self.values.copy_(values.view_as(self.values))
        self.log_probs.copy_(log_probs.view_as(self.log_probs))
        bootstrap_values = policy.predict_values(self.final_observations.flatten(0, 1)).view_as(self.rewards)
        self.rewards += torch.where(self.time_outs, gamma * bootstrap_values, 0.0)
        next_values = policy.predict_values(last_observations).flatten()
        advantage = torch.zeros_like(next_values)
        for step in reversed(range(self.n_steps)):
            non_terminal = 1.0 - self.dones[:, step].float()
            delta = self.rewards[:, step] + gamma * next_values * non_terminal - self.values[:, step]
            advantage = delta + gamma * gae_lambda * non_terminal * advantage
            self.advantages[:, step] = advantage
            next_values = self.values[:, step]
        torch.add(self.advantages, self.values, out=self.returns)

    def permutation(self) -> torch.Tensor:
        """Draw the indices of all samples in a random order."""
        return torch.randperm(self.values.numel(), device=self.values.device)

    def samples(self, indices: torch.Tensor) -> RolloutBufferSamples:
        """Gather samples by index. As in SB3, the first environment's come first, in the order of time.

        Args:
            indices: Indices, of any shape. Every field has this shape, then its own.
        """
        tensors = (self.observations, self.actions, self.estimates)
        observations, actions, estimates = (tensor.flatten(0, 1)[indices] for tensor in tensors)
        return RolloutBufferSamples(observations, actions, *estimates.unbind(-1))

    def episodes(self, most: int) -> list[dict[str, float]]:
        """List return ``r`` and length ``l`` of the last full episodes, ``most`` at most, oldest first."""
        ended = self.full_episodes.T
        returns, lengths = self.episode_returns.T[ended][-most:], self.episode_lengths.T[ended][-most:]
        return [{"r": value, "l": length} for value, length in zip(returns.tolist(), lengths.tolist(), strict=True)]

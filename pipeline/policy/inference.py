"""The policy in use: from raw observations to actions, deterministic and frozen."""

from __future__ import annotations

import gymnasium as gym
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from pipeline.policy.schema import Normalization


class InferencePolicy(nn.Module):
    """The mean action of a policy on normalised observations, within the bounds of the action space.

    It equals stock ``VecNormalize.normalize_obs``, then stock ``PPO.predict(deterministic=True)``. On the CPU,
    for the same number of environments, to the bit.
    """

    low: torch.Tensor
    high: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, network: ActorCriticPolicy, action_space: gym.spaces.Box, normalization: Normalization | None
    ) -> None:
        super().__init__()
        self.mean_action = nn.Sequential(network.mlp_extractor.policy_net, network.action_net)
        self.squash = network.squash_output
        self.register_buffer("low", torch.from_numpy(action_space.low))
        self.register_buffer("high", torch.from_numpy(action_space.high))
        self.normalizes = False
        if normalization and (moments := normalization.observations):
            self.normalizes, self.clip = True, normalization.clip_observations
            self.register_buffer("mean", torch.tensor(moments.mean, dtype=torch.float64))
            variance = torch.tensor(moments.var, dtype=torch.float64)
            self.register_buffer("std", torch.sqrt(variance + normalization.epsilon))
        self.eval().requires_grad_(False)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Compute the actions.

        Args:
            observations: As the environment gives them, float32 ``[n, observations]``.

        Returns:
            Actions within the bounds of the action space, float32 ``[n, actions]``.
        """
        actions = self.mean_action(self.normalize(observations))
        if self.squash:
            actions = torch.tanh(actions)
        return within_bounds(actions, self.low, self.high, squashed=self.squash)

    def normalize(self, observations: torch.Tensor) -> torch.Tensor:
        """Normalise in float64, as VecNormalize does, with frozen statistics."""
        if not self.normalizes:
            return observations
        normalized = (observations.double() - self.mean) / self.std
        if self.clip is not None:
            normalized = torch.clamp(normalized, -self.clip, self.clip)
        return normalized.float()


def within_bounds(actions: torch.Tensor, low: torch.Tensor, high: torch.Tensor, *, squashed: bool) -> torch.Tensor:
    """Bring actions into the bounds of the action space, which a Gaussian does not have.

    Args:
        actions: Of the policy ``[n, actions]``, within [-1, 1] if it is squashed.
        low: Lower bounds ``[actions]``.
        high: Upper bounds ``[actions]``.
        squashed: Whether to stretch the actions over the bounds instead of cutting them off there.
    """
    if squashed:
        return low + 0.5 * (actions + 1.0) * (high - low)
    return torch.clamp(actions, low, high)

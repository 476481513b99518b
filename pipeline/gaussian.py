"""SB3's Gaussian policy, evaluated in a third of the operations, forwards and backwards.

In a mini-batch of PPO each operation is so small that launching it is most of what it costs.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from pipeline.graphs import Beside

LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)


class LogProb(torch.autograd.Function):
    """The logarithm of a diagonal Gaussian's density, as ``DiagGaussianDistribution.log_prob``."""

    @staticmethod
    def forward(ctx: Any, actions: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
        """Log-probabilities ``[n]`` of ``actions`` ``[n, k]``, given ``mean`` ``[n, k]`` and ``log_std`` ``[k]``."""
        inverse = torch.exp(-log_std)
        deviation = (actions - mean) * inverse
        ctx.save_for_backward(deviation, inverse)
        return -0.5 * (deviation**2).sum(dim=1) - (log_std.sum() + len(log_std) * LOG_ROOT_2PI)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """The slopes by the mean and by ``log_std``, from those by the log-probabilities."""
        deviation, inverse = ctx.saved_tensors
        by_deviation = slope.unsqueeze(1) * deviation
        return None, by_deviation * inverse, (by_deviation * deviation).sum(dim=0) - slope.sum()


def evaluate_actions(
    policy: ActorCriticPolicy, observations: torch.Tensor, actions: torch.Tensor, beside: Beside
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What ``policy.evaluate_actions`` says, the value network beside the policy's on a GPU.

    Args:
        policy: One with a ``DiagGaussianDistribution`` over a flat Box.
        observations: ``[n, observations]``.
        actions: ``[n, actions]``.
        beside: Where the value network runs.

    Returns:
        Values and log-probabilities ``[n]``, and the entropy, one for all ``[]``.
    """
    with beside:
        values = policy.value_net(policy.mlp_extractor.forward_critic(observations)).flatten()
    mean = policy.action_net(policy.mlp_extractor.forward_actor(observations))
    log_prob: Any = LogProb.apply(actions, mean, policy.log_std)
    entropy = policy.log_std.sum() + len(policy.log_std) * (0.5 + LOG_ROOT_2PI)
    beside.join()
    return values, log_prob, entropy

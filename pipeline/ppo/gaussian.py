"""SB3's diagonal Gaussian policy, evaluated in a third of the operations, forward and backward.

In a mini-batch of PPO each operation is so small that launching it is most of what it costs. Tests hold the results
against SB3's own.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from pipeline.ppo.cuda_graphs import SideStream

LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)


class LogProb(torch.autograd.Function):
    """The log-probability of a diagonal Gaussian, as ``DiagGaussianDistribution.log_prob``."""

    @staticmethod
    def forward(ctx: Any, actions: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
        """Compute log-probabilities ``[n]``, from actions and means ``[n, k]`` and ``log_std`` ``[k]``."""
        inverse = torch.exp(-log_std)
        deviation = (actions - mean) * inverse
        ctx.save_for_backward(deviation, inverse)
        return -0.5 * (deviation**2).sum(dim=1) - (log_std.sum() + len(log_std) * LOG_ROOT_2PI)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Compute the gradients of mean and ``log_std`` from those of the log-probabilities."""
        deviation, inverse = ctx.saved_tensors
        by_deviation = gradient.unsqueeze(1) * deviation
        return None, by_deviation * inverse, (by_deviation * deviation).sum(dim=0) - gradient.sum()


def evaluate_actions(
    policy: ActorCriticPolicy, observations: torch.Tensor, actions: torch.Tensor, side_stream: SideStream
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute what ``policy.evaluate_actions`` returns, with both networks at the same time on a GPU.

    Args:
        policy: A policy with a ``DiagGaussianDistribution`` over a flat Box.
        observations: ``[n, observations]``.
        actions: ``[n, actions]``.
        side_stream: The stream of the value network.

    Returns:
        Values and log-probabilities ``[n]``, and the entropy ``[]``, which is that of every sample.
    """
    with side_stream:
        values = policy.value_net(policy.mlp_extractor.forward_critic(observations)).flatten()
    mean = policy.action_net(policy.mlp_extractor.forward_actor(observations))
    log_prob: Any = LogProb.apply(actions, mean, policy.log_std)
    entropy = policy.log_std.sum() + len(policy.log_std) * (0.5 + LOG_ROOT_2PI)
    side_stream.join()
    return values, log_prob, entropy

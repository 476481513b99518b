"""PPO's update of the policy, on tensors that stay where they are: as CUDA graphs on a GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pipeline.graphs import Graphed
from pipeline.params import check_batch_size

# What is logged of each mini-batch, in SB3's names.
LOGGED = ("entropy_loss", "policy_gradient_loss", "value_loss", "approx_kl", "clip_fraction", "loss")
KL = LOGGED.index("approx_kl")


class Update:
    """``PPO.train`` of SB3 2.9, less its conversations between the host and the GPU.

    Args:
        model: A PPO whose ``rollout_buffer`` is a :class:`pipeline.rollout.Rollout`.

    Raises:
        ValueError: If the mini-batches do not divide the rollout; a smaller one would not fit into the graph.
    """

    def __init__(self, model: Any) -> None:
        check_batch_size(model.batch_size, model.n_steps, model.n_envs)
        self.model, self.policy, self.optimizer = model, model.policy, model.policy.optimizer
        device = model.device
        self.clip_range, self.clip_range_vf = torch.zeros((), device=device), torch.zeros((), device=device)
        self.farthest = math.inf if model.target_kl is None else 1.5 * model.target_kl
        self.stopped = torch.zeros((), device=device)
        if self.stopped.is_cuda:
            # A graph has no branches, but a fused optimizer skips the steps that come while this is 1.
            self.optimizer.found_inf = self.stopped
        self.pass_over = Graphed(self._pass_over, device)

    def set_progress(self, remaining: float) -> None:
        """Set the learning rate and the clip ranges for what remains of the training, from 1 to 0."""
        for group in self.optimizer.param_groups:
            if not torch.is_tensor(group["lr"]):  # new, or loaded
                group["fused"] = True  # all parameters in one call
                group["capturable"] = self.clip_range.is_cuda
                group["lr"] = torch.zeros_like(self.clip_range)
            group["lr"].fill_(self.model.lr_schedule(remaining))
        self.clip_range.fill_(self.model.clip_range(remaining))
        if self.model.clip_range_vf is not None:
            self.clip_range_vf.fill_(self.model.clip_range_vf(remaining))

    def run(self) -> list[np.ndarray]:
        """Pass over the rollout ``n_epochs`` times, or until the policy has moved too far (``target_kl``).

        Returns:
            What is logged, float32 ``[mini-batches, len(LOGGED)]``, of each epoch.
        """
        self.stopped.zero_()
        epochs: list[torch.Tensor] = []
        while len(epochs) < self.model.n_epochs and not (self.model.target_kl and self.stopped):
            order = self.model.rollout_buffer.order().view(-1, self.model.batch_size)
            epochs.append(self.pass_over(order).clone())
        *whole, last = [records.cpu().numpy() for records in epochs]
        too_far = np.flatnonzero(last[:, KL] > self.farthest)
        return [*whole, last[: too_far[0] + 1] if len(too_far) else last]

    def _pass_over(self, order: torch.Tensor) -> torch.Tensor:
        """A step of the optimizer for each mini-batch.

        Args:
            order: The numbers of the samples ``[mini-batches, batch_size]``.

        Returns:
            What is logged ``[mini-batches, len(LOGGED)]``.
        """
        records = []
        for indices in order:
            records.append(self._compute_gradients(indices))
            self.stopped.logical_or_(records[-1][KL] > self.farthest)
            if not self.stopped.is_cuda and self.stopped:
                break
            self._take_step()
        return torch.stack(records)

    def _take_step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.model.max_grad_norm)
        self.optimizer.step()

    def _compute_gradients(self, indices: torch.Tensor) -> torch.Tensor:
        """PPO's loss of the mini-batch (https://arxiv.org/abs/1707.06347) and its gradients; what is logged of it."""
        model, batch = self.model, self.model.rollout_buffer.samples(indices)
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        values, advantages = values.flatten(), batch.advantages
        if model.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = log_prob - batch.old_log_prob
        ratio = torch.exp(log_ratio)
        clipped = torch.clamp(ratio, 1 - self.clip_range, 1 + self.clip_range)
        policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        if model.clip_range_vf is not None:
            change = torch.clamp(values - batch.old_values, -self.clip_range_vf, self.clip_range_vf)
            values = batch.old_values + change
        value_loss = functional.mse_loss(batch.returns, values)
        entropy_loss = -torch.mean(-log_prob if entropy is None else entropy)
        loss = policy_loss + model.ent_coef * entropy_loss + model.vf_coef * value_loss
        self.optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            divergence = torch.mean((ratio - 1) - log_ratio)
            clip_fraction = torch.mean((torch.abs(ratio - 1) > self.clip_range).float())
            return torch.stack([entropy_loss, policy_loss, value_loss, divergence, clip_fraction, loss]).detach()

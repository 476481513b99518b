"""PPO's update of the policy, on tensors that stay where they are: as CUDA graphs on a GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.type_aliases import RolloutBufferSamples

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
        self.parameters = list(self.policy.parameters())
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
        samples = self.model.rollout_buffer.samples(order)
        if self.model.normalize_advantage and self.model.batch_size > 1:
            std, mean = torch.std_mean(samples.advantages, dim=1, keepdim=True)
            samples = samples._replace(advantages=(samples.advantages - mean) / (std + 1e-8))
        records = []
        for batch in zip(*samples, strict=True):
            records.append(self._compute_gradients(RolloutBufferSamples(*batch)))
            self.stopped.logical_or_(records[-1][KL] > self.farthest)
            if not self.stopped.is_cuda and self.stopped:
                break
            self._take_step()
        return torch.stack(records)

    def _take_step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, self.model.max_grad_norm)
        self.optimizer.step()

    def _compute_gradients(self, batch: RolloutBufferSamples) -> torch.Tensor:
        """The gradients of PPO's loss of a mini-batch; what is logged of it."""
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        slopes, logged = self._loss(values.flatten(), log_prob, entropy, batch)
        self.optimizer.zero_grad()
        torch.autograd.backward(list(slopes), list(slopes.values()))
        return logged

    @torch.no_grad()
    def _loss(
        self, values: torch.Tensor, log_prob: torch.Tensor, entropy: torch.Tensor | None, batch: RolloutBufferSamples
    ) -> tuple[dict[torch.Tensor, torch.Tensor], torch.Tensor]:
        """PPO's loss (https://arxiv.org/abs/1707.06347), and its slopes.

        For autograd, the loss would be most of the operations, each on so little that launching it is what it costs.

        Args:
            values: What the policy says now of the samples ``[batch_size]``, as are the next two.
            log_prob: Of the actions.
            entropy: Of the distribution of actions; None if it has no closed form.
            batch: The samples.

        Returns:
            The slope of the loss by each of the first three, and what is logged ``[len(LOGGED)]``.
        """
        model, size = self.model, len(values)
        log_ratio = log_prob - batch.old_log_prob
        ratio = torch.exp(log_ratio)
        gain = batch.advantages * ratio
        clipped_gain = batch.advantages * torch.clamp(ratio, 1 - self.clip_range, 1 + self.clip_range)
        policy_loss = -torch.min(gain, clipped_gain).mean()
        by_log_prob = torch.where(gain <= clipped_gain, gain, 0.0) / -size
        error, counts = self._value_error(values, batch)
        value_loss = torch.mean(error**2)
        slopes = {log_prob: by_log_prob, values: error * counts * (2.0 * model.vf_coef / size)}
        if entropy is None:
            entropy_loss = log_prob.mean()
            by_log_prob += model.ent_coef / size
        else:
            entropy_loss = -entropy.mean()
            slopes[entropy] = torch.full_like(entropy, -model.ent_coef / size)
        loss = policy_loss + model.ent_coef * entropy_loss + model.vf_coef * value_loss
        divergence = torch.mean((ratio - 1) - log_ratio)
        clip_fraction = torch.mean((torch.abs(ratio - 1) > self.clip_range).float())
        return slopes, torch.stack([entropy_loss, policy_loss, value_loss, divergence, clip_fraction, loss])

    def _value_error(self, values: torch.Tensor, batch: RolloutBufferSamples) -> tuple[torch.Tensor, Any]:
        """How far the values are off, and whether they count (1) or ``clip_range_vf`` holds them fast (0)."""
        if self.model.clip_range_vf is None:
            return values - batch.returns, 1
        change = values - batch.old_values
        clipped = torch.clamp(change, -self.clip_range_vf, self.clip_range_vf)
        return batch.old_values + clipped - batch.returns, change == clipped

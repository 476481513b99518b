"""PPO's update as the paper has it (https://arxiv.org/abs/1707.06347), in plain autograd: the one to read.

Training takes ``update.py``, which does the same in less time. A test trains with each, and holds the weights equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch.nn import functional


class PlainUpdate:
    """The update of ``model``, a :class:`pipeline.ppo.ppo.TensorPPO`, with the interface of :class:`.update.Update`."""

    def __init__(self, model: Any) -> None:
        self.model, self.policy, self.optimizer = model, model.policy, model.policy.optimizer

    def set_progress(self, remaining: float) -> None:
        """Set the learning rate and the clip ranges for the part of the training that remains, from 1 to 0."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.model.lr_schedule(remaining)
        self.clip_range = self.model.clip_range(remaining)
        self.clip_range_vf = self.model.clip_range_vf and self.model.clip_range_vf(remaining)

    def run(self) -> list[np.ndarray]:
        """Run the epochs; returns for each what is logged, ``[mini-batches, len(LOGGED)]``."""
        model, epochs = self.model, []
        for _ in range(model.n_epochs):
            epochs.append([])
            for indices in model.rollout_buffer.permutation().view(-1, model.batch_size):
                loss, record = self.loss(model.rollout_buffer.samples(indices))
                epochs[-1].append([value.item() for value in record])
                approx_kl = record[3]
                if model.target_kl is not None and approx_kl > 1.5 * model.target_kl:
                    return [np.array(epoch) for epoch in epochs]
                self.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), model.max_grad_norm)
                self.optimizer.step()
        return [np.array(epoch) for epoch in epochs]

    def loss(self, batch: RolloutBufferSamples) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Compute the loss of a mini-batch, and what is logged of it."""
        model = self.model
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        entropy = torch.mean(-log_prob if entropy is None else entropy)

        advantages = batch.advantages
        if model.normalize_advantage:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

        # Clipped surrogate objective, equation 7
        ratio = torch.exp(log_prob - batch.old_log_prob)
        clipped_ratio = torch.clamp(ratio, 1 - self.clip_range, 1 + self.clip_range)
        surrogate = torch.min(ratio * advantages, clipped_ratio * advantages).mean()

        # Value loss, with the clipping of OpenAI's baselines if asked for
        values = values.flatten()
        if self.clip_range_vf:
            values = batch.old_values + torch.clamp(values - batch.old_values, -self.clip_range_vf, self.clip_range_vf)
        value_loss = functional.mse_loss(batch.returns, values)

        # Equation 9
        loss = -surrogate + model.vf_coef * value_loss - model.ent_coef * entropy

        with torch.no_grad():
            log_ratio = log_prob - batch.old_log_prob
            approx_kl = torch.mean((torch.exp(log_ratio) - 1) - log_ratio)  # http://joschu.net/blog/kl-approx.html
            clip_fraction = torch.mean((torch.abs(ratio - 1) > self.clip_range).float())
        return loss, (entropy, surrogate, value_loss, approx_kl, clip_fraction)

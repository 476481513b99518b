"""PPO's update of the policy, on tensors that stay where they are: as CUDA graphs on a GPU."""

from __future__ import annotations

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
        ValueError: If the mini-batches do not divide the rollout; a smaller one would need a graph of its own.
    """

    def __init__(self, model: Any) -> None:
        check_batch_size(model.batch_size, model.n_steps, model.n_envs)
        self.model, self.policy, self.optimizer = model, model.policy, model.policy.optimizer
        device = model.device
        self.indices = torch.zeros(model.batch_size, dtype=torch.int64, device=device)
        self.clip_range, self.clip_range_vf = torch.zeros((), device=device), torch.zeros((), device=device)
        self.compute_gradients = Graphed(self._compute_gradients, device)
        self.take_step = Graphed(self._take_step, device)

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
        if not self.compute_gradients.ready:
            self._warm_up()
        epochs: list[list[torch.Tensor]] = []
        goes_on = True
        while goes_on and len(epochs) < self.model.n_epochs:
            records, goes_on = self._pass()
            epochs.append(records)
        return [torch.stack(records).cpu().numpy() for records in epochs]

    def _pass(self) -> tuple[list[torch.Tensor], bool]:
        """One pass over the rollout; False if ``target_kl`` wants it to be the last."""
        target_kl, records = self.model.target_kl, []
        for indices in self.model.rollout_buffer.order().split(len(self.indices)):
            self.indices.copy_(indices)
            records.append(self.compute_gradients().clone())
            if target_kl is not None and records[-1][KL] > 1.5 * target_kl:
                return records, False
            self.take_step()
        return records, True

    def _warm_up(self) -> None:
        """Let the optimizer and the graphs allocate what they need, and leave the policy as it was."""
        state = self.optimizer.state
        before = [
            (parameter, parameter.detach().clone(), {name: value.clone() for name, value in state[parameter].items()})
            for parameter in self.policy.parameters()
        ]
        self.compute_gradients.warm_up()
        self.take_step.warm_up()
        for parameter, value, moments in before:
            parameter.data.copy_(value)
            for name, tensor in state[parameter].items():
                tensor.copy_(moments[name]) if moments else tensor.zero_()

    def _take_step(self) -> torch.Tensor:
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.model.max_grad_norm)
        self.optimizer.step()
        return norm

    def _compute_gradients(self) -> torch.Tensor:
        """PPO's loss of the mini-batch (https://arxiv.org/abs/1707.06347) and its gradients; what is logged of it."""
        model, batch = self.model, self.model.rollout_buffer.samples(self.indices)
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

"""PPO's update of the policy, on tensors that stay where they are: as CUDA graphs on a GPU.

``plain_update.py`` is the same algorithm as one would write it down. With the shipped params this one takes 0.55 of its
time on a CPU, and on a GPU it never waits for the host, so that an epoch can be one CUDA graph. For that, the gradients
of the loss and of the Gaussian are written by hand, the optimizer is a fused one, and logs are computed for all
mini-batches at once.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from pipeline.experiment.params import check_batch_size
from pipeline.ppo.cuda_graphs import Graphed, SideStream
from pipeline.ppo.gaussian import evaluate_actions
from pipeline.ppo.loss import KL, PPOLoss, PrecomputedGradients


class Update:
    """``PPO.train`` of SB3 2.9 without its transfers between the host and the GPU.

    Args:
        model: A PPO whose ``rollout_buffer`` is a :class:`pipeline.ppo.rollout_buffer.TensorRolloutBuffer`.

    Raises:
        ValueError: If the mini-batches do not divide the rollout; a smaller one would not fit into the graph.
    """

    def __init__(self, model: Any) -> None:
        check_batch_size(model.batch_size, model.n_steps, model.n_envs)
        self.model, self.policy, self.optimizer = model, model.policy, model.policy.optimizer
        self.is_plain = type(self.policy.action_dist) is DiagGaussianDistribution  # for `gaussian.py`
        self.parameters = list(self.policy.parameters())
        self.loss = PPOLoss(model)
        self.may_stop = model.target_kl is not None
        self.kl_limit = 1.5 * model.target_kl if self.may_stop else math.inf
        self.stopped = torch.zeros((), device=model.device)
        if self.may_stop and self.stopped.is_cuda:
            # A graph has no branches, but a fused optimizer skips the steps that come while this is 1.
            self.optimizer.found_inf = self.stopped
        self.value_stream = SideStream(model.device)
        self.run_epoch = Graphed(self._run_epoch, model.graph_device)

    def set_progress(self, remaining: float) -> None:
        """Set the learning rate and the clip ranges for the part of the training that remains, from 1 to 0."""
        for group in self.optimizer.param_groups:
            if not torch.is_tensor(group["lr"]):  # new, or loaded
                group["fused"] = True  # all parameters in one call
                group["capturable"] = self.stopped.is_cuda
                group["lr"] = torch.zeros_like(self.stopped)
            group["lr"].fill_(self.model.lr_schedule(remaining))
        self.loss.set_progress(remaining)

    def run(self) -> list[np.ndarray]:
        """Run ``n_epochs`` epochs, or fewer if the policy moves too far (``target_kl``).

        Returns:
            For each epoch what is logged, float32 ``[mini-batches, len(LOGGED)]``.
        """
        self.stopped.zero_()
        epochs: list[torch.Tensor] = []
        while len(epochs) < self.model.n_epochs and not (self.may_stop and self.stopped):
            permutation = self.model.rollout_buffer.permutation()
            epochs.append(self.run_epoch(permutation.view(-1, self.model.batch_size)).clone())
        *full, last = [records.cpu().numpy() for records in epochs]
        beyond_limit = np.flatnonzero(last[:, KL] > self.kl_limit)
        return [*full, last[: beyond_limit[0] + 1] if len(beyond_limit) else last]

    def _run_epoch(self, indices: torch.Tensor) -> torch.Tensor:
        """Take an optimizer step for each mini-batch.

        Args:
            indices: Indices of the samples ``[mini-batches, batch_size]``.

        Returns:
            What is logged ``[mini-batches, len(LOGGED)]``.
        """
        samples = self.model.rollout_buffer.samples(indices)
        if self.model.normalize_advantage:
            std, mean = torch.std_mean(samples.advantages, dim=1, keepdim=True)
            samples = samples._replace(advantages=(samples.advantages - mean) / (std + 1e-8))
        seen = []
        for batch in map(RolloutBufferSamples._make, zip(*samples, strict=True)):
            values, log_prob, entropy = self._evaluate(batch)
            log_ratio = log_prob.detach() - batch.old_log_prob
            ratio = torch.exp(log_ratio)
            approx_kl = torch.mean((ratio - 1) - log_ratio)
            mean_entropy = (-log_prob if entropy is None else entropy).detach().mean()
            seen.append((values.detach(), ratio, mean_entropy, approx_kl))
            if self._exceeds_kl_limit(approx_kl):
                break
            self._take_step(self.loss.gradients(values, log_prob, entropy, ratio, batch))
        samples = RolloutBufferSamples._make(field[: len(seen)] for field in samples)
        values, ratio, entropy, approx_kl = map(torch.stack, zip(*seen, strict=True))
        return self.loss.records(values, ratio, entropy, approx_kl, samples)

    def _evaluate(self, batch: RolloutBufferSamples) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Compute what ``policy.evaluate_actions`` returns: values, log-probabilities (``[batch_size]``), entropy."""
        if self.is_plain:
            return evaluate_actions(self.policy, batch.observations, batch.actions, self.value_stream)
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        return values.flatten(), log_prob, entropy

    def _exceeds_kl_limit(self, approx_kl: torch.Tensor) -> bool:
        """Tell whether to take no more steps, as far as the host can know; a graph goes on without effect."""
        if not self.may_stop:
            return False
        self.stopped.logical_or_(approx_kl > self.kl_limit)
        return not self.stopped.is_cuda and bool(self.stopped)

    def _take_step(self, gradients: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Take a step along the gradients, scaled down to ``max_grad_norm`` if their norm is larger."""
        for weights in self.parameters:
            weights.grad = None
        outputs, by_outputs = zip(*gradients, strict=True)
        loss: Any = PrecomputedGradients.apply(by_outputs, *outputs)
        loss.backward()
        with torch.no_grad():
            norm = torch.nn.utils.get_total_norm([weights.grad for weights in self.parameters])
            self.optimizer.grad_scale = torch.clamp((norm + 1e-6) / self.model.max_grad_norm, min=1.0)
            # A fused optimizer divides by it. Less what wraps the step: hooks for profilers and compilers, its no_grad.
            inspect.unwrap(type(self.optimizer).step)(self.optimizer)

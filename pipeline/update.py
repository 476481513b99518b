"""PPO's update of the policy, on tensors that stay where they are: as CUDA graphs on a GPU."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from pipeline.gaussian import evaluate_actions
from pipeline.graphs import Beside, Graphed
from pipeline.params import check_batch_size

# The means over a mini-batch that SB3's logs are made of.
LOGGED = ("entropy", "gain", "value_loss", "approx_kl", "clip_fraction")
KL = LOGGED.index("approx_kl")


class Slopes(torch.autograd.Function):
    """Stands for a loss of which the slopes alone are known, by as many tensors as there are slopes.

    ``torch.autograd.backward`` takes slopes too, but imports torch's symbolic shapes for them, which takes 0.3 s.
    """

    @staticmethod
    def forward(ctx: Any, slopes: tuple[torch.Tensor, ...], *tensors: torch.Tensor) -> torch.Tensor:
        """Nothing, to begin the way back from."""
        ctx.save_for_backward(*slopes)
        return slopes[0].new_empty(())

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        """The slopes, whatever is asked for."""
        return None, *ctx.saved_tensors


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
        self.least_ratio, self.most_ratio, self.clip_range, self.clip_range_vf = torch.zeros(4, device=device)
        self.may_stop = model.target_kl is not None
        self.farthest = 1.5 * model.target_kl if self.may_stop else math.inf
        self.stopped = torch.zeros((), device=device)
        if self.may_stop and self.stopped.is_cuda:
            # A graph has no branches, but a fused optimizer skips the steps that come while this is 1.
            self.optimizer.found_inf = self.stopped
        self.beside = Beside(device)
        self.pass_over = Graphed(self._pass_over, device)

    def set_progress(self, remaining: float) -> None:
        """Set the learning rate and the clip ranges for what remains of the training, from 1 to 0."""
        for group in self.optimizer.param_groups:
            if not torch.is_tensor(group["lr"]):  # new, or loaded
                group["fused"] = True  # all parameters in one call
                group["capturable"] = self.stopped.is_cuda
                group["lr"] = torch.zeros_like(self.stopped)
            group["lr"].fill_(self.model.lr_schedule(remaining))
        clip_range = self.model.clip_range(remaining)
        self.clip_range.fill_(clip_range)
        self.least_ratio.fill_(1 - clip_range)
        self.most_ratio.fill_(1 + clip_range)
        if self.model.clip_range_vf is not None:
            self.clip_range_vf.fill_(self.model.clip_range_vf(remaining))

    def run(self) -> list[np.ndarray]:
        """Pass over the rollout ``n_epochs`` times, or until the policy has moved too far (``target_kl``).

        Returns:
            What is logged, float32 ``[mini-batches, len(LOGGED)]``, of each epoch.
        """
        self.stopped.zero_()
        epochs: list[torch.Tensor] = []
        while len(epochs) < self.model.n_epochs and not (self.may_stop and self.stopped):
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
        if self.model.normalize_advantage:
            std, mean = torch.std_mean(samples.advantages, dim=1, keepdim=True)
            samples = samples._replace(advantages=(samples.advantages - mean) / (std + 1e-8))
        seen = []
        for batch in map(RolloutBufferSamples._make, zip(*samples, strict=True)):
            values, log_prob, entropy = self._evaluate(batch)
            log_ratio = log_prob.detach() - batch.old_log_prob
            ratio = torch.exp(log_ratio)
            divergence = torch.mean((ratio - 1) - log_ratio)
            mean_entropy = (-log_prob if entropy is None else entropy).detach().mean()
            seen.append((values.detach(), ratio, mean_entropy, divergence))
            if self._went_too_far(divergence):
                break
            for weights in self.parameters:
                weights.grad = None
            tensors, slopes = zip(*self._slopes(values, log_prob, entropy, ratio, batch), strict=True)
            loss: Any = Slopes.apply(slopes, *tensors)
            loss.backward()
            self._take_step()
        samples = RolloutBufferSamples._make(field[: len(seen)] for field in samples)
        values, ratio, entropy, divergence = map(torch.stack, zip(*seen, strict=True))
        return self._records(values, ratio, entropy, divergence, samples)

    def _evaluate(self, batch: RolloutBufferSamples) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Values and log-probabilities ``[batch_size]`` and the entropy, as ``policy.evaluate_actions``."""
        if type(self.policy.action_dist) is DiagGaussianDistribution:
            return evaluate_actions(self.policy, batch.observations, batch.actions, self.beside)
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        return values.flatten(), log_prob, entropy

    def _went_too_far(self, divergence: torch.Tensor) -> bool:
        """Whether no more steps are to be taken, as far as the host can know; a graph goes on without effect."""
        if not self.may_stop:
            return False
        self.stopped.logical_or_(divergence > self.farthest)
        return not self.stopped.is_cuda and bool(self.stopped)

    @torch.no_grad()
    def _slopes(
        self,
        values: torch.Tensor,
        log_prob: torch.Tensor,
        entropy: torch.Tensor | None,
        ratio: torch.Tensor,
        batch: RolloutBufferSamples,
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The slopes of PPO's loss (https://arxiv.org/abs/1707.06347) by what the policy says.

        For autograd, the loss would be most of the operations, each on so little that launching it is what it costs.

        Args:
            values: What the policy says now of the samples ``[batch_size]``, as are the next two.
            log_prob: Of the actions.
            entropy: Of the distribution of actions, of any shape; None if it has no closed form.
            ratio: Of the probabilities now and in the rollout.
            batch: The samples.

        Returns:
            Each tensor that has a part in the loss, with the slope of the loss by it.
        """
        model, size = self.model, len(values)
        gain, clipped_gain = self._gains(ratio, batch)
        error, counts = self._value_error(values, batch)
        slope = torch.where(gain <= clipped_gain, gain, 0.0) / -size
        if model.ent_coef and entropy is None:
            slope += model.ent_coef / size  # as SB3 estimates the entropy: by -log_prob
        slopes = [
            (log_prob, slope),
            (values, (error if counts is None else error * counts) * (2.0 * model.vf_coef / size)),
        ]
        if model.ent_coef and entropy is not None:
            slopes.append((entropy, torch.full_like(entropy, -model.ent_coef / entropy.numel())))
        return slopes

    def _gains(self, ratio: torch.Tensor, samples: RolloutBufferSamples) -> tuple[torch.Tensor, torch.Tensor]:
        """What PPO takes the lesser of: the advantages by the ratio, and by the clipped ratio."""
        return samples.advantages * ratio, samples.advantages * torch.clamp(ratio, self.least_ratio, self.most_ratio)

    def _value_error(
        self, values: torch.Tensor, samples: RolloutBufferSamples
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """How far the values are off, and whether they count or ``clip_range_vf`` holds them fast; None: all count."""
        if self.model.clip_range_vf is None:
            return values - samples.returns, None
        change = values - samples.old_values
        clipped = torch.clamp(change, -self.clip_range_vf, self.clip_range_vf)
        return samples.old_values + clipped - samples.returns, change == clipped

    def _take_step(self) -> None:
        """Take a step along the gradients, scaled down to ``max_grad_norm`` if they are longer."""
        with torch.no_grad():
            norm = torch.nn.utils.get_total_norm([weights.grad for weights in self.parameters])
            self.optimizer.grad_scale = torch.clamp((norm + 1e-6) / self.model.max_grad_norm, min=1.0)
            # A fused optimizer divides by it. Less what wraps the step: hooks for profilers and compilers, its no_grad.
            inspect.unwrap(type(self.optimizer).step)(self.optimizer)

    def _records(
        self,
        values: torch.Tensor,
        ratio: torch.Tensor,
        entropy: torch.Tensor,
        divergence: torch.Tensor,
        samples: RolloutBufferSamples,
    ) -> torch.Tensor:
        """What is logged ``[mini-batches, len(LOGGED)]``, of all mini-batches at once."""
        error, _ = self._value_error(values, samples)
        gain = torch.min(*self._gains(ratio, samples))
        clipped = (torch.abs(ratio - 1) > self.clip_range).float()
        means = (gain.mean(dim=1), (error**2).mean(dim=1), divergence, clipped.mean(dim=1))
        return torch.column_stack([entropy, *means])

"""PPO's loss (https://arxiv.org/abs/1707.06347): its gradients by hand, and what is logged of it.

For autograd the loss would be most of the operations of an update, each on so little data that launching it is what it
costs. ``plain_update.py`` has the same loss for autograd, and a test holds the two equal.
"""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.type_aliases import RolloutBufferSamples

# Means over a mini-batch, from which SB3's logs are made.
LOGGED = ("entropy", "surrogate", "value_loss", "approx_kl", "clip_fraction")
KL = LOGGED.index("approx_kl")


class PPOLoss:
    """The clipped surrogate, the value loss and the entropy bonus of ``model``.

    The clip ranges are tensors on the model's device, since a CUDA graph reads them anew at every replay.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.min_ratio, self.max_ratio, self.clip_range, self.clip_range_vf = torch.zeros(4, device=model.device)

    def set_progress(self, remaining: float) -> None:
        """Set the clip ranges for the part of the training that remains, from 1 to 0."""
        clip_range = self.model.clip_range(remaining)
        self.clip_range.fill_(clip_range)
        self.min_ratio.fill_(1 - clip_range)
        self.max_ratio.fill_(1 + clip_range)
        if self.model.clip_range_vf is not None:
            self.clip_range_vf.fill_(self.model.clip_range_vf(remaining))

    @torch.no_grad()
    def gradients(
        self,
        values: torch.Tensor,
        log_prob: torch.Tensor,
        entropy: torch.Tensor | None,
        ratio: torch.Tensor,
        batch: RolloutBufferSamples,
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Compute the gradients of the loss with respect to the policy's outputs for a mini-batch.

        Args:
            values: Values ``[batch_size]``.
            log_prob: Log-probabilities of the actions ``[batch_size]``.
            entropy: Entropy of the distributions, of any shape; None if it has no closed form.
            ratio: Probabilities of the actions by those in the rollout ``[batch_size]``.
            batch: The mini-batch.

        Returns:
            Each output that has a part in the loss, with the gradient with respect to it.
        """
        model, size = self.model, len(values)
        surrogate, clipped_surrogate = self._surrogates(ratio, batch)
        error, inside = self._value_error(values, batch)
        by_log_prob = torch.where(surrogate <= clipped_surrogate, surrogate, 0.0) / -size
        if model.ent_coef and entropy is None:
            by_log_prob += model.ent_coef / size  # SB3 estimates the entropy by -log_prob
        by_values = (error if inside is None else error * inside) * (2.0 * model.vf_coef / size)
        gradients = [(log_prob, by_log_prob), (values, by_values)]
        if model.ent_coef and entropy is not None:
            gradients.append((entropy, torch.full_like(entropy, -model.ent_coef / entropy.numel())))
        return gradients

    def records(
        self,
        values: torch.Tensor,
        ratio: torch.Tensor,
        entropy: torch.Tensor,
        approx_kl: torch.Tensor,
        samples: RolloutBufferSamples,
    ) -> torch.Tensor:
        """Compute what is logged, ``[mini-batches, len(LOGGED)]``, of all mini-batches at once.

        Args:
            values: Values ``[mini-batches, batch_size]``.
            ratio: Probabilities of the actions by those in the rollout ``[mini-batches, batch_size]``.
            entropy: Means over the mini-batches ``[mini-batches]``.
            approx_kl: The same.
            samples: The samples, with fields ``[mini-batches, batch_size, ...]``.
        """
        error, _ = self._value_error(values, samples)
        surrogate = torch.min(*self._surrogates(ratio, samples))
        clipped = (torch.abs(ratio - 1) > self.clip_range).float()
        means = (surrogate.mean(dim=1), (error**2).mean(dim=1), approx_kl, clipped.mean(dim=1))
        return torch.column_stack([entropy, *means])

    def _surrogates(self, ratio: torch.Tensor, samples: RolloutBufferSamples) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the surrogate objective and the clipped one, of which PPO takes the smaller."""
        return samples.advantages * ratio, samples.advantages * torch.clamp(ratio, self.min_ratio, self.max_ratio)

    def _value_error(
        self, values: torch.Tensor, samples: RolloutBufferSamples
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Compute the error of the values, and where ``clip_range_vf`` lets it have a gradient; None for everywhere."""
        if self.model.clip_range_vf is None:
            return values - samples.returns, None
        change = values - samples.old_values
        clipped = torch.clamp(change, -self.clip_range_vf, self.clip_range_vf)
        return samples.old_values + clipped - samples.returns, change == clipped


class PrecomputedGradients(torch.autograd.Function):
    """A loss of which only the gradients are known.

    ``torch.autograd.backward`` takes gradients too, but imports torch's symbolic shapes for them, which takes 0.3 s.
    """

    @staticmethod
    def forward(ctx: Any, gradients: tuple[torch.Tensor, ...], *outputs: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        """Return a scalar whose ``backward`` gives each of ``outputs`` its one of ``gradients``."""
        ctx.save_for_backward(*gradients)
        return gradients[0].new_empty(())

    @staticmethod
    def backward(ctx: Any, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        """Return the known gradients."""
        return None, *ctx.saved_tensors

"""SB3's PPO with everything on the device of the environments: the same algorithm, arguments, callbacks and files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.utils import explained_variance
from torch.nn import functional

from pipeline.rollout import Rollout


class TensorPPO(PPO):
    """PPO for a :class:`pipeline.normalize.TensorNormalize`, or a :class:`pipeline.environment.TensorEnv` itself.

    Follows ``OnPolicyAlgorithm.collect_rollouts`` and ``PPO.train`` of SB3 2.9. Callbacks see tensors in their locals;
    values and log-probabilities exist from the rollout's end. What ``save`` writes, stock ``PPO.load`` reads.
    """

    # Tensors, and a Rollout, where SB3 has arrays and a RolloutBuffer.
    rollout_buffer: Any
    _last_obs: Any
    _last_episode_starts: Any
    # As they are once SB3 has set them up.
    action_space: Any
    ep_info_buffer: Any
    clip_range: Any
    clip_range_vf: Any

    def _setup_model(self) -> None:
        super()._setup_model()
        if isinstance(self.policy.optimizer, torch.optim.Adam):
            for group in self.policy.optimizer.param_groups:
                group["fused"] = True  # all parameters in one call
        spaces = self.observation_space.shape or (), self.action_space.shape or ()
        self.rollout_buffer = Rollout(self.n_steps, self.n_envs, *spaces, self.device)
        self._low, self._high = (
            torch.as_tensor(bound, device=self.device) for bound in (self.action_space.low, self.action_space.high)
        )

    def _excluded_save_params(self) -> list[str]:
        return [
            *super()._excluded_save_params(),
            "_last_obs",
            "_last_episode_starts",
            "_last_original_obs",
            "_low",
            "_high",
        ]

    def collect_rollouts(self, env: Any, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int) -> bool:
        """Play ``n_rollout_steps`` steps; False if a callback wants the training to end."""
        self.policy.set_training_mode(False)
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()
        for step in range(n_rollout_steps):
            if self.use_sde and self.sde_sample_freq > 0 and step % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            with torch.no_grad():
                actions = self.policy.get_distribution(self._last_obs).get_actions()
            new_obs, rewards, dones, ended = env.step(self._bounded(actions))
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            starts = torch.as_tensor(self._last_episode_starts, device=self.device)
            rollout_buffer.add(step, self._last_obs, actions, rewards, starts, dones, ended)
            self._last_obs, self._last_episode_starts = new_obs, dones
        rollout_buffer.finish(self.policy, self._last_obs, self.gamma, self.gae_lambda)
        self.ep_info_buffer.extend(rollout_buffer.episodes(self._stats_window_size))
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _bounded(self, actions: torch.Tensor) -> torch.Tensor:
        """What the environments are given: a Gaussian has no bounds, the action space does."""
        if self.policy.squash_output:
            return self._low + 0.5 * (actions + 1.0) * (self._high - self._low)
        return torch.clamp(actions, self._low, self._high)

    def train(self) -> None:
        """Update the policy with the rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)
        clip_range_vf = self.clip_range_vf(self._current_progress_remaining) if self.clip_range_vf else None
        records: list[dict[str, torch.Tensor]] = []
        for _ in range(self.n_epochs):
            first = len(records)
            for batch in self.rollout_buffer.minibatches(self.batch_size):
                loss, record = self._loss(batch, clip_range, clip_range_vf)
                records.append(record)
                if self.target_kl is not None and record["approx_kl"] > 1.5 * self.target_kl:
                    break
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.policy.optimizer.step()
            else:
                self._n_updates += 1
                continue
            self._n_updates += 1
            break
        self._record(records, first, clip_range, clip_range_vf)

    def _loss(
        self, batch: RolloutBufferSamples, clip_range: float, clip_range_vf: float | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """PPO's loss of a mini-batch (https://arxiv.org/abs/1707.06347), and what is logged of it."""
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions)
        values, advantages = values.flatten(), batch.advantages
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = log_prob - batch.old_log_prob
        ratio = torch.exp(log_ratio)
        clipped = torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
        policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        if clip_range_vf is not None:
            values = batch.old_values + torch.clamp(values - batch.old_values, -clip_range_vf, clip_range_vf)
        value_loss = functional.mse_loss(batch.returns, values)
        entropy_loss = -torch.mean(-log_prob if entropy is None else entropy)
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        with torch.no_grad():
            record = {
                "entropy_loss": entropy_loss.detach(),
                "policy_gradient_loss": policy_loss.detach(),
                "value_loss": value_loss.detach(),
                "approx_kl": torch.mean((ratio - 1) - log_ratio),
                "clip_fraction": torch.mean((torch.abs(ratio - 1) > clip_range).float()),
                "loss": loss.detach(),
            }
        return loss, record

    def _record(
        self, records: list[dict[str, torch.Tensor]], last_epoch: int, clip_range: float, clip_range_vf: float | None
    ) -> None:
        """Log what SB3 logs: means over the update, of the divergence over its last epoch, and the last loss."""
        columns = {name: torch.stack([record[name] for record in records]).tolist() for name in records[0]}
        columns["approx_kl"] = columns["approx_kl"][last_epoch:]
        columns["loss"] = columns["loss"][-1:]
        for name, values in columns.items():
            self.logger.record(f"train/{name}", np.mean(values))
        buffer = self.rollout_buffer
        variance = explained_variance(buffer.values.flatten().cpu().numpy(), buffer.returns.flatten().cpu().numpy())
        self.logger.record("train/explained_variance", variance)
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", torch.exp(self.policy.log_std).mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)
        if clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", clip_range_vf)

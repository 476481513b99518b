"""SB3's PPO with all tensors on the simulator's device: the same algorithm, arguments and callbacks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from pipeline.experiment.errors import UserError
from pipeline.policy.inference import within_bounds
from pipeline.ppo.cuda_graphs import Graphed
from pipeline.ppo.loss import KL
from pipeline.ppo.rollout_buffer import TensorRolloutBuffer
from pipeline.ppo.update import Update


class TensorPPO(PPO):
    """PPO for a :class:`.vec_normalize.TensorNormalize`, or for a :class:`pipeline.simulation.tensor_env.TensorEnv`.

    Follows ``OnPolicyAlgorithm.collect_rollouts`` and ``PPO.train`` of SB3 2.9. Callbacks see tensors in their locals;
    values and log-probabilities exist from the rollout's end.
    """

    # Tensors, and a TensorRolloutBuffer, where SB3 has arrays and a RolloutBuffer.
    rollout_buffer: Any
    _last_obs: Any
    # As they are once SB3 has set them up.
    env: Any
    action_space: Any
    ep_info_buffer: Any
    clip_range: Any
    clip_range_vf: Any

    def _setup_model(self) -> None:
        super()._setup_model()
        # It would ask the GPU at every step whether all is well; _check_finite asks once an update.
        torch.distributions.Distribution.set_default_validate_args(False)
        spaces = self.observation_space.shape or (), self.action_space.shape or ()
        self.rollout_buffer = TensorRolloutBuffer(self.n_steps, self.n_envs, *spaces, self.device)
        self._low, self._high = (
            torch.as_tensor(bound, device=self.device) for bound in (self.action_space.low, self.action_space.high)
        )
        # gSDE draws new matrices of noise now and then, which a graph would not see.
        self._act = self._sample_actions if self.use_sde else Graphed(self._sample_actions, self.device)
        # Without full_std, SB3 copies ones to the GPU again and again, which a graph cannot record.
        recordable = getattr(self.policy.action_dist, "full_std", True)
        self.graph_device = self.device if recordable else torch.device("cpu")
        self._finish = Graphed(self._finish_rollout, self.graph_device)
        self.update = Update(self)

    def _maybe_recommend_cpu(self, *args: Any, **kwargs: Any) -> None:
        """Do not advise against GPUs: SB3 does so for its copies to the host, which are not made here."""

    def get_parameters(self) -> dict[str, dict]:
        """Return the weights and the optimizer's state, the latter as stock SB3 has it on every device."""
        parameters = super().get_parameters()
        for group in parameters["policy.optimizer"]["param_groups"]:
            group |= {"lr": float(group["lr"]), "fused": None, "capturable": False}
        return parameters

    def collect_rollouts(self, env: Any, callback: BaseCallback, rollout_buffer: Any, n_rollout_steps: int) -> bool:
        """Collect ``n_rollout_steps`` steps; returns False if a callback asks for the end of the training."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        self._reset_noise()  # when a checkpoint, if the rollout starts with one, has seeded the random numbers
        for step in range(n_rollout_steps):
            if self.sde_sample_freq > 0 and step % self.sde_sample_freq == 0:
                self._reset_noise()
            actions, bounded = self._act(self._last_obs)
            rollout_buffer.add_actions(step, self._last_obs, actions)
            self._last_obs, rewards, dones, ended = env.step(bounded)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            rollout_buffer.add_outcome(step, rewards, dones, ended)
        self._finish(self._last_obs)
        self.ep_info_buffer.extend(rollout_buffer.episodes(self._stats_window_size))
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    @torch.no_grad()  # else what autograd keeps of it, on another stream, would end the capture of the update
    def _reset_noise(self) -> None:
        """Draw new matrices of noise, for gSDE."""
        if self.use_sde:
            self.policy.reset_noise(self.n_envs)

    @torch.no_grad()
    def _sample_actions(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sample actions ``[num_envs, actions]``; returns them as drawn, and within the bounds of the action space."""
        actions = self.policy.get_distribution(observations).get_actions()
        return actions, within_bounds(actions, self._low, self._high, squashed=self.policy.squash_output)

    def _finish_rollout(self, last_observations: torch.Tensor) -> None:
        self.rollout_buffer.compute_returns_and_advantages(self.policy, last_observations, self.gamma, self.gae_lambda)

    def train(self) -> None:
        """Update the policy on the rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        epochs = self.update.run()
        self._n_updates += len(epochs)
        self._check_finite(np.concatenate(epochs))
        self._log(epochs)

    def _update_learning_rate(self, optimizers: Any) -> None:
        self.logger.record("train/learning_rate", self.lr_schedule(self._current_progress_remaining))
        self.update.set_progress(self._current_progress_remaining)

    def _log(self, epochs: list[np.ndarray]) -> None:
        """Log what SB3 logs: means over the update (approx_kl: over its last epoch), and the last loss."""
        entropy, surrogate, value_loss, _, clip_fraction = np.concatenate(epochs).T
        losses = self.vf_coef * value_loss - surrogate - self.ent_coef * entropy
        self.logger.record("train/entropy_loss", -np.mean(entropy))
        self.logger.record("train/policy_gradient_loss", -np.mean(surrogate))
        self.logger.record("train/value_loss", np.mean(value_loss))
        self.logger.record("train/approx_kl", np.mean(epochs[-1][:, KL]))
        self.logger.record("train/clip_fraction", np.mean(clip_fraction))
        self.logger.record("train/loss", losses[-1])
        buffer = self.rollout_buffer
        unexplained = (buffer.returns - buffer.values).var(correction=0) / buffer.returns.var(correction=0)
        if math.isfinite(unexplained := unexplained.item()):  # equal returns have no variance to explain
            self.logger.record("train/explained_variance", 1.0 - unexplained)
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", torch.exp(self.policy.log_std).mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", self.clip_range(self._current_progress_remaining))
        if self.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", self.clip_range_vf(self._current_progress_remaining))

    def _check_finite(self, records: np.ndarray) -> None:
        buffer, policy = self.rollout_buffer, self.policy
        values = {
            "an observation": buffer.observations,
            "a reward": buffer.rewards,
            "a weight": torch.nn.utils.parameters_to_vector(policy.parameters()),
        }
        finite = torch.stack([value.isfinite().all() for value in values.values()]).tolist()
        # A divergence may be infinite, and end the update in time; a gradient written by hand hides one that is NaN.
        finite.append(not np.isnan(records).any())
        for name, good in zip([*values, "a loss"], finite, strict=True):
            if not good:
                raise UserError(
                    f"{name} was not finite after {self.num_timesteps:,} timesteps; nothing was recorded: "
                    "lower ppo.learning_rate, or look at the settings of the task"
                )

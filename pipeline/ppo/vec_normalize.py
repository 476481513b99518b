"""SB3's VecNormalize on tensors."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.vec_env import VecNormalize

from pipeline.ppo.cuda_graphs import Graphed
from pipeline.simulation.tensor_env import Step, TensorEnv


class TensorMoments:
    """SB3's ``RunningMeanStd`` on tensors: mean, variance and count in float64, changed in place."""

    def __init__(self, shape: tuple[int, ...], device: str) -> None:
        self.mean = torch.zeros(shape, dtype=torch.float64, device=device)
        self.var = torch.ones(shape, dtype=torch.float64, device=device)
        # As in SB3, which begins with a little weight on mean 0 and variance 1.
        self.count = torch.full((), 1e-4, dtype=torch.float64, device=device)

    def update(self, batch: torch.Tensor) -> None:
        """Update the moments with ``batch``, of shape ``[n, *shape]``, by the parallel algorithm that SB3 uses."""
        var, mean = torch.var_mean(batch.double(), dim=0, correction=0)
        count, total = len(batch), self.count + len(batch)
        delta = mean - self.mean
        self.mean += delta * count / total
        self.var.copy_((self.var * self.count + var * count + delta**2 * self.count * count / total) / total)
        self.count.copy_(total)


class TensorNormalize(VecNormalize):
    """VecNormalize for a :class:`TensorEnv`: the same arguments and values.

    What numpy sums in float32, this sums in float64, so that the statistics differ by a rounding of float32.
    """

    venv: Any
    obs_rms: Any  # TensorMoments, where SB3 has RunningMeanStd
    ret_rms: Any

    def __init__(self, env: TensorEnv, **settings: Any) -> None:
        super().__init__(env, **settings)
        device = str(env.sim_device)
        self.returns: Any = torch.zeros(self.num_envs, dtype=torch.float64, device=device)
        self.obs_rms = TensorMoments(self.observation_space.shape or (), device)
        self.ret_rms = TensorMoments((), device)
        self._update_moments = Graphed(self._update_statistics, device)
        self._normalize = Graphed(self._normalize_step, device)

    def reset(self) -> torch.Tensor:  # type: ignore[override]  # a tensor
        """Start an episode in every environment; the observations count for the statistics."""
        self.old_obs: Any = self.venv.reset()
        self.returns.zero_()
        if self.training and self.norm_obs:
            self.obs_rms.update(self.old_obs)
        return self.normalize_obs(self.old_obs)

    def step_wait(self) -> Step:  # type: ignore[override]  # tensors
        """Take a step. Its observations and rewards update the statistics first, and are then normalised with them."""
        observations, rewards, dones, ended = self.venv.step_wait()
        self.old_obs = observations
        if self.training:
            self._update_moments(observations, rewards, dones)
        else:
            self.returns.masked_fill_(dones, 0.0)  # these episodes end, though nothing is added to their returns
        observations, rewards, final = self._normalize(observations, rewards, ended.final_observations)
        return observations, rewards, dones, ended._replace(final_observations=final)

    def _update_statistics(self, observations: torch.Tensor, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        if self.norm_obs:
            self.obs_rms.update(observations)
        self.returns.mul_(self.gamma).add_(rewards)
        self.ret_rms.update(self.returns)
        self.returns.masked_fill_(dones, 0.0)

    def _normalize_step(self, observations: torch.Tensor, rewards: torch.Tensor, final: torch.Tensor) -> Any:
        return self.normalize_obs(observations), self.normalize_reward(rewards), self.normalize_obs(final)

    def _normalize_obs(self, obs: Any, obs_rms: Any) -> Any:
        return torch.clamp((obs - obs_rms.mean) / torch.sqrt(obs_rms.var + self.epsilon), -self.clip_obs, self.clip_obs)

    def normalize_obs(self, obs: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # tensors
        """Normalise in float64; float32 ``[num_envs, observations]`` in and out."""
        return self._normalize_obs(obs, self.obs_rms).float() if self.norm_obs else obs

    def normalize_reward(self, reward: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # tensors
        """Scale in float64; float32 ``[num_envs]`` in and out."""
        if not self.norm_reward:
            return reward
        scaled = reward / torch.sqrt(self.ret_rms.var + self.epsilon)
        return torch.clamp(scaled, -self.clip_reward, self.clip_reward).float()

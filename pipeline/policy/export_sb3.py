"""The policy for stock SB3 and Isaac Lab's ``play``: ``model.zip`` and ``model_vecnormalize.pkl``, byte-stable.

SB3's own ``save`` writes dates, addresses in memory, the host's name and half-finished episodes. Here a fresh stock PPO
is described instead, from the policy's own file, so that nothing but values gets in and no class of this project does.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import data_to_json
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from pipeline.experiment.files import write_atomically
from pipeline.policy.policy import Policy
from pipeline.policy.sb3_arguments import ppo_arguments
from pipeline.policy.schema import Moments

# What training has done so far; all else in the zip comes from the policy's description.
PROGRESS = ("n_envs", "num_timesteps", "_total_timesteps", "_current_progress_remaining", "_n_updates")


def export_sb3(folder: Path, model: PPO, policy: Policy) -> None:
    """Write ``model.zip`` and, if the policy is normalised, ``model_vecnormalize.pkl``.

    Args:
        folder: Where to write them.
        model: The PPO, or subclass of it, that ``policy`` was taken from; gives the optimizer's state.
        policy: The policy.
    """
    write_atomically(folder / "model.zip", _zip(_members(model, policy)))
    if policy.normalization:
        write_atomically(folder / "model_vecnormalize.pkl", pickle.dumps(_vec_normalize(policy), protocol=4))


def _members(model: PPO, policy: Policy) -> dict[str, bytes]:
    """Encode the files within ``model.zip``, as SB3 names them."""
    fresh = _fresh_ppo(policy)
    for name in PROGRESS:
        setattr(fresh, name, getattr(model, name))
    return {
        "data": _data(fresh),
        "policy.pth": _pth(policy.weights),
        "policy.optimizer.pth": _pth(model.get_parameters()["policy.optimizer"]),
        "_stable_baselines3_version": stable_baselines3.__version__.encode(),
        "system_info.txt": f"Stable-Baselines3: {stable_baselines3.__version__}\n".encode(),
    }


def _fresh_ppo(policy: Policy) -> PPO:
    """Build a stock PPO with the policy's settings, but without networks: to build those would reseed this process."""
    arguments: dict[str, Any] = json.loads(json.dumps(policy.agent, sort_keys=True))
    model = PPO(**ppo_arguments(arguments), env=None, seed=policy.seed, device="cpu", _init_setup_model=False)  # type: ignore[arg-type]  # as PPO.load does
    model.observation_space = policy.observation_space.to_gymnasium()
    model.action_space = policy.action_space.to_gymnasium()
    return model


def _data(model: PPO) -> bytes:
    """Encode a model's attributes as SB3 does, without its notes for human readers, which have memory addresses."""
    excluded = model._excluded_save_params()
    data = json.loads(data_to_json({key: value for key, value in vars(model).items() if key not in excluded}))
    for key, value in data.items():
        if isinstance(value, dict) and ":serialized:" in value:
            data[key] = {name: value[name] for name in (":type:", ":serialized:")}
    return json.dumps(data, sort_keys=True, indent=4).encode()


def _pth(values: Any) -> bytes:
    file = io.BytesIO()
    torch.save(_canonical(values), file)
    return file.getvalue()


def _canonical(value: Any) -> Any:
    """Copy ``value`` onto the CPU, with keys in order and equal strings as one object, as pickle tells them apart."""
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return type(value)(_canonical(item) for item in value)
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone().contiguous()
    return sys.intern(value) if isinstance(value, str) else value


def _zip(members: Mapping[str, bytes]) -> bytes:
    """Build a ZIP archive whose files have the first date that ZIP knows, in place of now."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)  # 1980-01-01, uncompressed
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, content)
    return file.getvalue()


def stock_normalize(observation_space: gym.Space, action_space: gym.Space, **settings: Any) -> VecNormalize:
    """Build SB3's VecNormalize, with its arguments as ``settings``, for environments that it has not seen."""
    return VecNormalize(DummyVecEnv([lambda: _Spaces(observation_space, action_space)]), **settings)  # type: ignore[list-item]


def _vec_normalize(policy: Policy) -> VecNormalize:
    """Build a VecNormalize with the policy's statistics."""
    normalization = policy.normalization
    assert normalization
    normalize = stock_normalize(
        policy.observation_space.to_gymnasium(),
        policy.action_space.to_gymnasium(),
        norm_obs=normalization.observations is not None,
        norm_reward=normalization.rewards is not None,
        clip_obs=_clip(normalization.clip_observations),
        clip_reward=_clip(normalization.clip_rewards),
        gamma=normalization.gamma,
        epsilon=normalization.epsilon,
    )
    if normalization.observations:
        _fill(normalize.obs_rms, normalization.observations)
    if normalization.rewards:
        _fill(normalize.ret_rms, normalization.rewards)
    return normalize


def _clip(limit: float | None) -> float:
    return np.inf if limit is None else limit


def _fill(statistics: Any, moments: Moments[Any]) -> None:
    assert isinstance(statistics, RunningMeanStd)
    statistics.mean = np.array(moments.mean, dtype=np.float64)
    statistics.var = np.array(moments.var, dtype=np.float64)
    statistics.count = moments.count


class _Spaces(gym.Env):
    """An environment that has spaces, which is all that VecNormalize asks of it here."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space

"""What happens beside the training, without a simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from pipeline.callbacks import FreezeNormalization
from tests.toy import make_env

pytestmark = pytest.mark.unit


def statistics(until: int | None) -> tuple[float, np.ndarray]:
    env: Any = VecNormalize(make_env())
    callback = FreezeNormalization(until) if until else None
    PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=1, device="cpu").learn(128, callback)
    return env.obs_rms.count, env.ret_rms.mean


def test_normalization_stops_with_the_first_rollout_that_reaches_the_given_timesteps():
    # Four environments of eight steps make 32 timesteps a rollout; the count starts at 1e-4, and with four at reset.
    assert statistics(None)[0] == pytest.approx(132, abs=1e-3)
    frozen, at_64 = statistics(64), statistics(33)
    assert frozen[0] == at_64[0] == pytest.approx(68, abs=1e-3)
    assert frozen[1] == at_64[1]

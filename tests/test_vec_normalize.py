"""What VecNormalize keeps, where a few digits decide; its values on rollouts are compared with SB3's in test_ppo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from pipeline.ppo.vec_normalize import TensorMoments, TensorNormalize
from tests.toy_env import Rough, TensorToy

pytestmark = pytest.mark.unit


def normalized(**settings: Any) -> Any:
    return TensorNormalize(TensorToy(), **settings)  # type: ignore[arg-type]


def test_moments_far_from_zero_are_sb3s_in_float64():
    random = torch.Generator().manual_seed(0)
    ours, stock = TensorMoments((3,), "cpu"), RunningMeanStd(shape=(3,))
    for count in (1, 7, 64):
        batch = 1e6 + torch.randn(count, 3, generator=random, dtype=torch.float64)
        ours.update(batch)
        stock.update(batch.numpy())
    for name in ("mean", "var", "count"):
        torch.testing.assert_close(
            getattr(ours, name), torch.as_tensor(getattr(stock, name), dtype=torch.float64), rtol=1e-12, atol=0
        )


def test_a_discounted_return_is_summed_in_float64_and_ends_with_its_episode():
    env = normalized(gamma=1.0)
    env.reset()
    env.returns.fill_(2.0**24)
    env._update_statistics(torch.zeros(4, 3), torch.ones(4), torch.tensor([True, False, False, False]))
    assert env.returns.tolist() == [0.0, 2.0**24 + 1, 2.0**24 + 1, 2.0**24 + 1]


def test_an_evaluation_leaves_the_statistics_alone():
    env = normalized()
    env.training = False
    env.reset()
    env.step(torch.zeros(4, 2))
    assert env.obs_rms.count == env.ret_rms.count == pytest.approx(1e-4)


def test_what_is_not_normalised_stays_as_it_is():
    env = normalized(norm_obs=False, norm_reward=False)
    env.reset()
    observations, rewards, _, _ = env.step(torch.full((4, 2), 0.25))
    assert torch.equal(observations, env.old_obs)
    assert rewards.tolist() == [0.5] * 4


def both(**settings: Any) -> list[Any]:
    """SB3's and ours, over environments that draw the same numbers, in their first step."""
    pair = [VecNormalize(DummyVecEnv([Rough] * 4), **settings), TensorNormalize(TensorToy(cls=Rough), **settings)]  # type: ignore[arg-type]
    for env in pair:
        env.seed(3)
        env.reset()
    return pair


def step(env: Any, random: np.random.Generator) -> list[np.ndarray]:
    actions = random.uniform(-1, 1, (4, 2)).astype(np.float32)
    ours = isinstance(env, TensorNormalize)
    observations, rewards, dones, _ = env.step(torch.from_numpy(actions) if ours else actions)
    return [np.asarray(values) for values in (observations, rewards, dones)]


def test_learning_that_is_switched_off_and_on_again_is_sb3s():
    """While it is off, SB3 adds nothing to the returns, but ends those of the episodes that end."""
    pair = both()
    randoms = [np.random.default_rng(0) for _ in pair]
    for training in (True, False, True, False, True):
        for env in pair:
            env.training = training
        for _ in range(7):
            theirs, own = (step(env, random) for env, random in zip(pair, randoms, strict=True))
            for our_values, values in zip(own, theirs, strict=True):
                np.testing.assert_allclose(our_values, values, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(pair[1].returns, pair[0].returns, rtol=1e-6)
    assert pair[1].ret_rms.count == pair[0].ret_rms.count == pytest.approx(4 * 7 * 3, abs=1e-3)
    np.testing.assert_allclose(pair[1].ret_rms.var, pair[0].ret_rms.var, rtol=1e-6)

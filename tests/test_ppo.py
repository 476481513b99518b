"""Our PPO against stock SB3, on the same random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from pipeline import graphs
from pipeline.callbacks import LearningCurve
from pipeline.errors import UserError
from pipeline.normalize import TensorNormalize
from pipeline.ppo import TensorPPO
from tests.toy import TensorToy, Toy

pytestmark = pytest.mark.unit

NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")]
CUDA = pytest.param("cuda", marks=NEEDS_GPU)

SETTINGS = {"n_steps": 16, "batch_size": 16, "n_epochs": 3, "seed": 1, "device": "cpu", "stats_window_size": 5}
TIMESTEPS = 4 * 16 * 4


def learn(cls, env, **settings):
    model = cls("MlpPolicy", env, **SETTINGS | settings)
    curve = LearningCurve()
    model.set_logger(Logger(None, [curve]))
    return model.learn(TIMESTEPS), curve.rows


@pytest.fixture
def _same_order(monkeypatch, device):
    """Stock SB3 draws the order of the samples from numpy, we draw it on the device."""
    monkeypatch.setattr(np.random, "permutation", lambda n: torch.randperm(n, device=device).cpu().numpy())


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clip_range_vf": 0.2, "normalize_advantage": False, "ent_coef": 0.01},
        {"target_kl": 0.001},
        {"use_sde": True, "sde_sample_freq": 4},
        {"use_sde": True, "policy_kwargs": {"squash_output": True}, "ent_coef": 0.01},
        {"policy_kwargs": {"optimizer_class": torch.optim.SGD}, "learning_rate": 0.1},
        {"policy_kwargs": {"optimizer_class": torch.optim.AdamW}},
    ],
    ids=["defaults", "value clipping", "early stop", "gSDE", "squashed", "SGD", "AdamW"],
)
@pytest.mark.usefixtures("_same_order")
def test_learns_what_stock_sb3_learns(settings, device):
    settings = settings | {"device": device}
    stock_env: Any = VecNormalize(DummyVecEnv([lambda: Monitor(Toy())] * 4), clip_reward=2.0)
    stock, stock_rows = learn(PPO, stock_env, **settings)
    env = TensorNormalize(TensorToy(device=device), clip_reward=2.0)  # type: ignore[arg-type]
    ours, rows = learn(TensorPPO, env, **settings)
    for name, weights in stock.policy.state_dict().items():
        torch.testing.assert_close(ours.policy.state_dict()[name], weights, rtol=1e-4, atol=1e-5)
    for theirs, own in ((stock_env.obs_rms, env.obs_rms), (stock_env.ret_rms, env.ret_rms)):
        # On a GPU the networks round otherwise in a batch than step by step, and a mean may be near zero.
        np.testing.assert_allclose(own.mean.cpu(), theirs.mean, rtol=1e-4, atol=1e-7 if device == "cpu" else 1e-6)
        np.testing.assert_allclose(own.var.cpu(), theirs.var, rtol=1e-4)
        assert own.count == theirs.count
    assert [row.keys() for row in rows] == [row.keys() for row in stock_rows]
    for row, stock_row in zip(rows, stock_rows, strict=True):
        assert row == pytest.approx(stock_row, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"target_kl": 0.001}], ids=["defaults", "early stop"])
@pytest.mark.parametrize("device", [CUDA])
def test_as_graphs_it_learns_the_same_bits_as_kernel_by_kernel(monkeypatch, settings, device):
    results = []
    for warm_up in (graphs.WARM_UP, 10**9):
        monkeypatch.setattr(graphs, "WARM_UP", warm_up)
        env = TensorNormalize(TensorToy(device=device))  # type: ignore[arg-type]
        model, _ = learn(TensorPPO, env, device=device, **settings)
        results.append([*model.policy.parameters(), env.obs_rms.mean, env.obs_rms.var, env.ret_rms.var])
    assert all(torch.equal(graphed, launched) for graphed, launched in zip(*results, strict=True))


def test_stock_sb3_loads_what_it_saves(tmp_path):
    ours, _ = learn(TensorPPO, TensorNormalize(TensorToy()))  # type: ignore[arg-type]
    ours.save(tmp_path / "model.zip")
    stock = PPO.load(tmp_path / "model.zip", device="cpu")
    observations = np.ones((4, 3), dtype=np.float32)
    np.testing.assert_array_equal(
        stock.predict(observations, deterministic=True)[0], ours.predict(observations, deterministic=True)[0]
    )
    assert stock.policy.optimizer.state_dict()["state"].keys() == ours.policy.optimizer.state_dict()["state"].keys()
    assert not [name for name in vars(stock) if type(getattr(stock, name)).__module__.startswith("pipeline")]


def test_loaded_it_goes_on_as_it_was(tmp_path):
    ours, _ = learn(TensorPPO, TensorNormalize(TensorToy()))  # type: ignore[arg-type]
    ours.save(tmp_path / "model.zip")
    loaded = TensorPPO.load(tmp_path / "model.zip", TensorNormalize(TensorToy()), device="cpu")  # type: ignore[arg-type]
    before = [weights.clone() for weights in loaded.policy.parameters()]
    loaded.learn(TIMESTEPS)
    assert not any(torch.equal(now, then) for now, then in zip(loaded.policy.parameters(), before, strict=True))


class Broken(TensorToy):
    """Gives a reward of NaN from the given step on."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def step_wait(self):
        observations, rewards, dones, ended = super().step_wait()
        self.left -= 1
        return observations, rewards * (1.0 if self.left > 0 else float("nan")), dones, ended


def test_a_number_that_is_not_finite_ends_the_training_at_that_update():
    with pytest.raises(UserError, match="a reward was not finite after 128 timesteps"):
        learn(TensorPPO, TensorNormalize(Broken(step=20), norm_reward=False))  # type: ignore[arg-type]

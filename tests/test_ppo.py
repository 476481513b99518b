"""Our PPO against stock SB3, on the same random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from pipeline.experiment.errors import UserError
from pipeline.ppo import cuda_graphs
from pipeline.ppo.plain_update import PlainUpdate
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.update import Update
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.training.callbacks import LearningCurve
from tests.toy_env import Rough, TensorToy, make_env

pytestmark = pytest.mark.unit

NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")]
CUDA = pytest.param("cuda", marks=NEEDS_GPU)

SETTINGS = {"n_steps": 16, "batch_size": 16, "n_epochs": 3, "seed": 1, "device": "cpu", "stats_window_size": 5}
SETTINGS |= {"learning_rate": 3e-3, "gamma": 0.9, "gae_lambda": 0.8}
DECAYS = {"learning_rate": 3e-3, "clip_range": 0.3, "clip_range_vf": 0.4}
ROLLOUTS = 8
TIMESTEPS = ROLLOUTS * 4 * 16
STEPS = ROLLOUTS * 3 * 4  # of the optimizer, unless an update ends early


def learn(cls, env, **settings):
    model = cls("MlpPolicy", env, **SETTINGS | settings)
    curve = LearningCurve()
    model.set_logger(Logger(None, [curve]))
    return model.learn(TIMESTEPS), curve.rows


def learn_twice(settings: dict[str, Any], normalization: dict[str, Any], device: str) -> list[tuple[Any, Any, list]]:
    """Train stock SB3 and ours on :class:`Rough`; return the model, its environments and its log of each."""
    stock_env = VecNormalize(DummyVecEnv([lambda: Monitor(Rough())] * 4), **normalization)
    env = TensorNormalize(TensorToy(device=device, cls=Rough), **normalization)  # type: ignore[arg-type]
    settings = settings | {"device": device}
    results = []
    for cls, normalized in ((PPO, stock_env), (TensorPPO, env)):
        model, rows = learn(cls, normalized, **settings)
        results.append((model, normalized, rows))
    return results


def steps_of_the_optimizer(model: Any) -> int:
    """How many steps Adam has taken."""
    return int(next(iter(model.policy.optimizer.state.values()))["step"])


@pytest.fixture
def _same_order(monkeypatch, device):
    """Stock SB3 draws the order of the samples from numpy, we draw it on the device."""
    monkeypatch.setattr(np.random, "permutation", lambda n: torch.randperm(n, device=device).cpu().numpy())


LIMIT = 0.01  # of the divergence: updates end early at other steps than with two thirds of it
CLIPPED = {"clip_obs": 2.0, "clip_reward": 2.0}

# What the optimizers and the policy take, at other values than torch's and SB3's own.
ADAM = {"betas": [0.8, 0.99], "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}
SGD = {"momentum": 0.7, "dampening": 0.3, "weight_decay": 0.1}
NESTEROV = {"momentum": 0.7, "nesterov": True, "maximize": True}
POLICY = {"ortho_init": False, "log_std_init": -1.0, "share_features_extractor": False, "normalize_images": False}
POLICY |= {"net_arch": {"pi": [6], "vf": []}, "activation_fn": torch.nn.PReLU}
GSDE = {"full_std": False, "use_expln": True}


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(
    ("settings", "normalization"),
    [
        ({}, CLIPPED),
        ({"learning_rate": 3e-4}, {"norm_obs": False}),
        ({}, {"norm_reward": False, "gamma": 0.5}),
        ({"normalize_advantage": False, "ent_coef": 0.1, "vf_coef": 0.1}, {"gamma": 0.5, "epsilon": 0.5}),
        (
            {name: LinearSchedule(start, 0.0, 1.0) for name, start in DECAYS.items()},
            CLIPPED,
        ),
        ({"target_kl": LIMIT}, CLIPPED),
        ({"max_grad_norm": 0.05}, CLIPPED),
        ({"use_sde": True, "sde_sample_freq": 4, "ent_coef": 0.1}, CLIPPED),
        (
            {
                "use_sde": True,
                "sde_sample_freq": 1,
                "policy_kwargs": {"squash_output": True},
                "learning_rate": 3e-4,
                "ent_coef": 0.01,
            },
            CLIPPED,
        ),
        ({"policy_kwargs": {"optimizer_class": torch.optim.SGD}, "learning_rate": 0.1}, CLIPPED),
        ({"policy_kwargs": {"optimizer_class": torch.optim.AdamW}, "learning_rate": 3e-4}, CLIPPED),
        ({"policy_kwargs": {"optimizer_kwargs": ADAM | {"decoupled_weight_decay": True}}}, CLIPPED),
        ({"policy_kwargs": POLICY | {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": ADAM}}, CLIPPED),
        ({"policy_kwargs": {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": SGD}}, CLIPPED),
        ({"policy_kwargs": {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": NESTEROV}}, CLIPPED),
        ({"policy_kwargs": GSDE, "use_sde": True, "sde_sample_freq": 4}, CLIPPED),
    ],
    ids=[
        *("defaults", "observations as they are", "rewards as they are", "other weights of the loss", "decays"),
        *("early stop", "short gradients", "gSDE", "squashed", "SGD", "AdamW"),
        *("Adam, decoupled", "policy and AdamW", "SGD, damped", "SGD, Nesterov", "gSDE, all"),
    ],
)
@pytest.mark.usefixtures("_same_order")
def test_learns_what_stock_sb3_learns(settings, normalization, device):
    (stock, stock_env, stock_rows), (ours, env, rows) = learn_twice(settings, normalization, device)
    # On a GPU the networks round otherwise in a batch than step by step, and a mean may be near zero.
    of_weights, of_means, of_logs = (1e-5, 1e-7, 1e-3) if device == "cpu" else (1e-4, 1e-6, 5e-3)
    for name, weights in stock.policy.state_dict().items():
        torch.testing.assert_close(ours.policy.state_dict()[name], weights, rtol=1e-4, atol=of_weights)
    kept = [name for name in ("obs_rms", "ret_rms") if hasattr(stock_env, name)]  # SB3 keeps those that it applies
    for theirs, own in ((getattr(stock_env, name), getattr(env, name)) for name in kept):
        np.testing.assert_allclose(own.mean.cpu(), theirs.mean, rtol=1e-4, atol=of_means)
        np.testing.assert_allclose(own.var.cpu(), theirs.var, rtol=1e-4)
        assert own.count == theirs.count
    assert [row.keys() for row in rows] == [row.keys() for row in stock_rows]
    for row, stock_row in zip(rows, stock_rows, strict=True):
        assert row == pytest.approx(stock_row, rel=of_logs, abs=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {name: LinearSchedule(start, 0.0, 1.0) for name, start in DECAYS.items()},
        {"target_kl": LIMIT},
        {"normalize_advantage": False, "ent_coef": 0.1, "vf_coef": 0.1, "max_grad_norm": 0.05},
        {"use_sde": True, "sde_sample_freq": 4, "ent_coef": 0.1},
    ],
    ids=["defaults", "decays", "early stop", "other weights of the loss", "gSDE"],
)
def test_the_fast_update_learns_what_the_plain_one_learns(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    trained = []
    for update in (Update, PlainUpdate):
        monkeypatch.setattr("pipeline.ppo.ppo.Update", update)
        env = TensorNormalize(TensorToy(cls=Rough), **CLIPPED)  # type: ignore[arg-type]
        trained.append(learn(TensorPPO, env, **settings))
    (fast, rows), (plain, plain_rows) = trained
    assert steps_of_the_optimizer(fast) == steps_of_the_optimizer(plain)
    for name, weights in plain.policy.state_dict().items():
        torch.testing.assert_close(fast.policy.state_dict()[name], weights, rtol=1e-4, atol=1e-5)
    for row, plain_row in zip(rows, plain_rows, strict=True):
        assert row == pytest.approx(plain_row, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.usefixtures("_same_order")
def test_an_update_ends_early_at_the_step_at_which_stock_sb3_ends_it(device):
    (stock, *_), (ours, *_) = learn_twice({"target_kl": LIMIT}, CLIPPED, device)
    (sooner, *_), _ = learn_twice({"target_kl": LIMIT / 1.5}, CLIPPED, device)
    taken = steps_of_the_optimizer(stock)
    assert taken != steps_of_the_optimizer(sooner), "SB3 stops at 1.5 times the limit, which must make a difference"
    assert 0 < taken < STEPS - ROLLOUTS, "the limit is too high for this test to say anything"
    assert device != "cpu" or taken % 4, "an epoch should end in its midst (a GPU draws other numbers)"
    assert steps_of_the_optimizer(ours) == taken
    assert ours._n_updates == stock._n_updates < 3 * ROLLOUTS


def test_schedules_decay_with_the_timesteps():
    """By hand: the update after the k-th of eight rollouts has (8 - k) / 8 of the training before it."""
    settings = {name: LinearSchedule(start, 0.0, 1.0) for name, start in DECAYS.items()}
    _, rows = learn(TensorPPO, TensorNormalize(TensorToy(cls=Rough)), **settings)  # type: ignore[arg-type]
    for name, start in DECAYS.items():
        logged = [row[f"train/{name}"] for row in rows if f"train/{name}" in row]
        assert logged == pytest.approx([start * (ROLLOUTS - k) / ROLLOUTS for k in range(1, ROLLOUTS)])


def test_the_rough_environment_has_ends_of_every_kind_and_outliers():
    env = DummyVecEnv([Rough] * 4)
    env.seed(1)
    env.reset()
    steps: list[Any] = [env.step(np.zeros((4, 2), np.float32)) for _ in range(TIMESTEPS // 4)]
    ends = {
        (bool(info["TimeLimit.truncated"]), bool(done))
        for _, _, dones, infos in steps
        for done, info in zip(dones, infos, strict=True)
    }
    assert ends == {(False, False), (False, True), (True, True)}
    observations, rewards = (np.concatenate([step[field] for step in steps]) for field in (0, 1))
    for values in (observations[:, 2], rewards):
        assert np.abs(values).max() > 3 * values.std()


@pytest.mark.parametrize("settings", [{}, {"target_kl": LIMIT}], ids=["defaults", "early stop"])
@pytest.mark.parametrize("device", [CUDA])
def test_as_graphs_it_learns_the_same_bits_as_kernel_by_kernel(monkeypatch, settings, device):
    results = []
    for warm_up in (cuda_graphs.WARM_UP, 10**9):
        monkeypatch.setattr(cuda_graphs, "WARM_UP", warm_up)
        env = TensorNormalize(TensorToy(device=device, cls=Rough), **CLIPPED)  # type: ignore[arg-type]
        model, _ = learn(TensorPPO, env, device=device, **settings)
        assert (steps_of_the_optimizer(model) < STEPS) == ("target_kl" in settings)
        results.append([*model.policy.parameters(), env.obs_rms.mean, env.obs_rms.var, env.ret_rms.var])
    assert all(torch.equal(graphed, launched) for graphed, launched in zip(*results, strict=True))


class Calls(BaseCallback):
    """Lists when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []

    def _on_rollout_start(self) -> None:
        self.calls.append(("start", self.num_timesteps))

    def _on_step(self) -> bool:
        self.calls.append(("step", self.num_timesteps))
        return True

    def _on_rollout_end(self) -> None:
        self.calls.append(("end", self.num_timesteps))


def test_callbacks_are_called_when_stock_sb3_calls_them():
    called = []
    for cls, env in ((PPO, VecNormalize(make_env())), (TensorPPO, TensorNormalize(TensorToy()))):  # type: ignore[arg-type]
        callback = Calls()
        cls("MlpPolicy", env, **SETTINGS).learn(TIMESTEPS, callback)
        called.append(callback.calls)
    assert called[0] == called[1]


def test_a_callback_can_end_the_training(tmp_path):
    model = TensorPPO("MlpPolicy", TensorNormalize(TensorToy()), **SETTINGS)  # type: ignore[arg-type]
    model.learn(TIMESTEPS, callback=lambda now, _: now["self"].num_timesteps < 100)
    assert model.num_timesteps == 100


class Broken(TensorToy):
    """Gives an observation or a reward of NaN from the given step on."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__()
        self.left, self.what = step, what

    def step_wait(self):
        observations, rewards, dones, ended = super().step_wait()
        self.left -= 1
        broken = observations if self.what == "an observation" else rewards
        broken *= 1.0 if self.left > 0 else float("nan")
        return observations, rewards, dones, ended


@pytest.mark.parametrize("what", ["an observation", "a reward"])
def test_a_number_that_is_not_finite_ends_the_training_at_that_update(what):
    env = TensorNormalize(Broken(step=20, what=what), norm_obs=False, norm_reward=False)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"{what} was not finite after 128 timesteps"):
        learn(TensorPPO, env)


@pytest.mark.parametrize(("learning_rate", "what"), [(1e38, "a weight"), (10.0, "a (loss|weight)")])
def test_weights_and_losses_that_are_not_finite_end_the_training(learning_rate: float, what: str):
    with pytest.raises(UserError, match=rf"{what} was not finite after \d+ timesteps"):
        learn(TensorPPO, TensorNormalize(TensorToy()), learning_rate=learning_rate)  # type: ignore[arg-type]


def test_returns_that_are_all_equal_have_no_variance_to_explain_and_training_goes_on():
    """SB3 logs NaN, which no metrics file here may have: the training would be lost at its end."""
    settings: dict[str, Any] = {"n_steps": 1, "n_epochs": 1, "batch_size": 1, "normalize_advantage": False}
    _, rows = learn(TensorPPO, TensorNormalize(TensorToy(num_envs=1)), **settings)  # type: ignore[arg-type]
    assert "train/value_loss" in rows[-1]
    assert "train/explained_variance" not in rows[-1]
    assert all(np.isfinite(list(row.values())).all() for row in rows)

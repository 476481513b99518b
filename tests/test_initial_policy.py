"""The policy that a training starts from: what is taken, and what is refused, without a simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.experiment.paths import RANDOM_WEIGHTS
from pipeline.policy.policy import Policy
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.training import agent
from pipeline.training.training_state import load_policy
from tests.conftest import ROOT
from tests.toy_env import TensorToy

pytestmark = pytest.mark.unit

TASK = "Isaac-Cartpole"
SETTINGS: dict[str, Any] = {"policy": "MlpPolicy", "n_steps": 8, "batch_size": 16, "policy_kwargs": {"net_arch": [5]}}


def model(seed: int, settings: dict[str, Any] = SETTINGS, **normalize: Any) -> Any:
    arguments: dict[str, Any] = settings | {"env": TensorNormalize(TensorToy(), **normalize)}  # type: ignore[arg-type]
    return TensorPPO(**arguments, seed=seed, device="cpu")


def trained(folder: Path, task: str = TASK, settings: dict[str, Any] = SETTINGS, **normalize: Any) -> Policy:
    made = model(1, settings, **normalize).learn(64)
    policy = Policy.from_sb3(made, made.env, task, settings)
    policy.save(folder)
    return policy


def initial(folder: str | Path, settings: dict[str, Any] = SETTINGS, *, observations: bool = True) -> Policy | None:
    normalize = load_params(ROOT / "params.yaml").normalize.model_copy(update={"observations": observations})
    return agent.initial_policy(str(folder), TASK, settings, normalize)


def test_random_weights_are_no_policy():
    assert initial(RANDOM_WEIGHTS) is None


def test_a_policy_is_taken_with_its_weights_and_its_normalisation_whatever_the_other_settings(tmp_path: Path):
    policy = trained(tmp_path)
    taken = initial(tmp_path, SETTINGS | {"n_steps": 16, "learning_rate": 1.0, "gamma": 0.5})
    assert taken is not None
    assert taken.sha256 == policy.sha256
    other = model(2)
    load_policy(other, taken)
    assert other.num_timesteps == 0
    for name, weights in other.policy.state_dict().items():
        assert torch.equal(weights, policy.weights[name]), name
    assert policy.normalization
    assert policy.normalization.observations
    assert policy.normalization.rewards
    assert other.env.obs_rms.mean.tolist() == policy.normalization.observations.mean
    assert other.env.obs_rms.var.tolist() == policy.normalization.observations.var
    assert other.env.obs_rms.count.item() == policy.normalization.observations.count == pytest.approx(68, abs=1e-3)
    assert other.env.ret_rms.var.item() == policy.normalization.rewards.var
    assert other.env.ret_rms.count.item() == pytest.approx(64, abs=1e-3)


def test_a_policy_without_statistics_of_rewards_leaves_those_of_the_training_at_their_beginning(tmp_path: Path):
    trained(tmp_path, norm_reward=False)
    taken = initial(tmp_path)
    assert taken is not None
    other = model(2)
    load_policy(other, taken)
    assert (other.env.ret_rms.mean.item(), other.env.ret_rms.var.item()) == (0.0, 1.0)
    assert other.env.ret_rms.count.item() == pytest.approx(1e-4)


def test_a_policy_sees_observations_as_it_was_trained(tmp_path: Path):
    trained(tmp_path / "normalised")
    trained(tmp_path / "raw", norm_obs=False)
    for folder, observations in (("normalised", True), ("raw", False)):
        assert initial(tmp_path / folder, observations=observations)
        with pytest.raises(UserError, match=f"set normalize.observations to {str(observations).lower()}, as the"):
            initial(tmp_path / folder, observations=not observations)


@pytest.mark.parametrize("change", [{"policy_kwargs": {"net_arch": [6]}}, {"use_sde": True}], ids=str)
def test_a_policy_of_other_layers_is_refused(tmp_path: Path, change: dict[str, Any]):
    trained(tmp_path)
    with pytest.raises(
        UserError, match=r"other layers than ppo asks for; set ppo.policy_kwargs and ppo.use_sde as in "
    ):
        initial(tmp_path, SETTINGS | change)


def test_a_policy_of_another_task_and_what_is_no_folder_are_refused(tmp_path: Path):
    trained(tmp_path, task="Isaac-Ant")
    with pytest.raises(UserError, match=f"trained for the task Isaac-Ant, not {TASK}"):
        initial(tmp_path)
    with pytest.raises(
        UserError, match=rf"should be {RANDOM_WEIGHTS} or a folder with a policy \(given: .*policy.json"
    ):
        initial(tmp_path / "policy.json")

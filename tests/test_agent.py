"""From the params and the registered agent to PPO's arguments."""

from __future__ import annotations

import copy
import resource
from typing import Any

import numpy as np
import pytest
from torch import nn, optim

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Params
from pipeline.experiment.params_file import load_params
from pipeline.policy.sb3_arguments import ppo_arguments
from pipeline.ppo.ppo import TensorPPO
from pipeline.training import agent
from tests.conftest import ROOT
from tests.toy_env import TensorToy

pytestmark = pytest.mark.unit

# As Isaac Lab registers them, with every key that is not PPO's.
REGISTERED: dict[str, Any] = {
    **{"seed": 7, "n_timesteps": 1e6, "device": "cuda:0", "normalize_input": True, "normalize_value": True},
    **{"clip_obs": 10.0, "policy": "MlpPolicy", "n_steps": 8, "n_minibatches": 4, "gamma": 0.9, "clip_range": 0.3},
    "policy_kwargs": {"activation_fn": "nn.Tanh", "net_arch": [4]},
}


def params(**sections: Any) -> Params:
    """The real params, without any of `ppo` but what is given."""
    values = load_params(ROOT / "params.yaml").model_dump() | {"ppo": {}}
    for name, section in sections.items():
        values[name] = values[name] | section if isinstance(section, dict) else section
    return Params.model_validate(values)


def resolve(asked: Params, registered: dict[str, Any]) -> dict[str, Any]:
    return agent.resolve_settings(asked.ppo, registered, asked.train.num_envs, deterministic=asked.sim.deterministic)


def test_what_the_params_leave_open_is_as_registered_and_nothing_is_but_ppos_arguments():
    registered = copy.deepcopy(REGISTERED)
    settings = resolve(params(train={"num_envs": 10}), registered)
    assert settings == {
        **{"policy": "MlpPolicy", "n_steps": 8, "batch_size": 20, "gamma": 0.9, "clip_range": 0.3},
        "policy_kwargs": {"activation_fn": "nn.Tanh", "net_arch": [4]},
    }
    settings["policy_kwargs"]["net_arch"].append(5)
    assert registered == REGISTERED, "what is registered belongs to Isaac Lab"


def test_the_params_win_and_none_of_what_they_give_is_lost():
    given = {"gamma": 0.5, "n_steps": 4, "ent_coef": 0.0, "normalize_advantage": False, "vf_coef": 0.25}
    given |= {"policy_kwargs": {"net_arch": [6]}, "learning_rate": "lin_3e-3", "batch_size": 8}
    settings = resolve(params(train={"num_envs": 10}, ppo=given), REGISTERED)
    expected = given | {"learning_rate": "lin_0.003", "policy": "MlpPolicy", "clip_range": 0.3}
    assert settings == expected


@pytest.mark.parametrize(
    ("given", "batch_size"),
    [({}, 20), ({"n_minibatches": 2}, 40), ({"n_steps": 16}, 40), ({"batch_size": 16}, 16), ({"n_minibatches": 40}, 2)],
)
def test_mini_batches_are_counted_in_the_rollout_unless_their_size_is_given(given: dict[str, Any], batch_size: int):
    settings = resolve(params(train={"num_envs": 10}, ppo=given), REGISTERED)
    assert settings["batch_size"] == batch_size
    assert "n_minibatches" not in settings


@pytest.mark.parametrize("name", ["n_steps", "batch_size", "gamma"])
def test_what_neither_the_registered_agent_nor_the_params_have_is_asked_for(name: str):
    registered = {"n_steps": 8, "batch_size": 20, "gamma": 0.9, "policy": "MlpPolicy"}
    without = {key: value for key, value in registered.items() if key != name}
    with pytest.raises(
        UserError, match=rf"^sim\.agent: the registered agent has no {name}; set it there, or under ppo"
    ):
        resolve(params(train={"num_envs": 10}), without)
    assert resolve(params(train={"num_envs": 10}, ppo={name: registered[name]}), without) == registered
    if name != "batch_size":  # which follows from the number of mini-batches
        counted = {key: value for key, value in without.items() if key != "batch_size"} | {"n_minibatches": 4}
        with pytest.raises(UserError, match=f"has no {name};"):
            resolve(params(train={"num_envs": 10}), counted)


def test_more_mini_batches_than_samples_are_one_sample_each():
    asked = {"n_minibatches": 1000, "normalize_advantage": False}
    assert resolve(params(train={"num_envs": 1}, ppo=asked), REGISTERED)["batch_size"] == 1


@pytest.mark.parametrize("given", [{"batch_size": 1}, {"n_minibatches": 80, "normalize_advantage": True}], ids=str)
def test_one_sample_has_no_advantages_to_normalise(given: dict[str, Any]):
    """SB3 says so, too, but only once the simulator runs."""
    with pytest.raises(UserError, match=r"^ppo\.batch_size: 1 sample has no advantages to normalise; set"):
        resolve(params(train={"num_envs": 10}, ppo=given), REGISTERED)
    assert resolve(params(train={"num_envs": 10}, ppo=given | {"normalize_advantage": False}), REGISTERED)


def test_a_rollout_that_no_machine_holds_is_refused_with_the_registered_steps_too():
    with pytest.raises(UserError, match=r"train.num_envs 1000000 x ppo.n_steps 101 should be a rollout of at most 10"):
        resolve(params(train={"num_envs": 10**6}), REGISTERED | {"n_steps": 101})


def test_mini_batches_that_leave_a_remainder_are_refused_with_the_registered_steps_too():
    with pytest.raises(UserError, match=r"divide the rollout of 80 \(train.num_envs 10 x ppo.n_steps 8\), and 32"):
        resolve(params(train={"num_envs": 10}, ppo={"batch_size": 32}), REGISTERED)


@pytest.mark.parametrize("name", ["Softplus", "Mish"])
def test_an_activation_whose_bits_are_the_machines_is_for_those_who_do_not_ask_for_determinism(name: str):
    ppo = {"policy_kwargs": {"activation_fn": f"nn.{name}"}}
    with pytest.raises(UserError, match=f"activation_fn: {name} may give other bits on another machine"):
        resolve(params(ppo=ppo), REGISTERED)
    resolve(params(ppo=ppo, sim={"deterministic": False}), REGISTERED)


def test_only_gsde_may_squash_its_actions():
    squashed = {"policy_kwargs": {"squash_output": True}}
    with pytest.raises(UserError, match=r"ppo\.policy_kwargs: SB3 cannot build this network \(squash_output"):
        resolve(params(ppo=squashed), REGISTERED)
    assert resolve(params(ppo=squashed | {"use_sde": True}), REGISTERED)["use_sde"] is True


@pytest.mark.parametrize(
    "name", ["GLU", "L1Loss", "Dropout", "LazyBatchNorm1d", "Linear", "Elu", "functional", "Module"]
)
@pytest.mark.parametrize("deterministic", [True, False])
def test_what_is_no_activation_is_refused_with_and_without_determinism(name: str, deterministic: bool):
    asked = params(ppo={"policy_kwargs": {"activation_fn": f"nn.{name}"}}, sim={"deterministic": deterministic})
    with pytest.raises(UserError, match=rf"^ppo\.policy_kwargs\.activation_fn: .*{name}"):
        resolve(asked, REGISTERED)


def test_more_weights_than_a_machine_holds_are_refused_before_they_are_made():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="net_arch should make at most 100000000 weights, and makes 2000008000002"):
        resolve(params(ppo={"policy_kwargs": {"net_arch": [10**6, 10**6]}}), REGISTERED)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB"


@pytest.mark.parametrize(
    "changes", [{}, {"use_sde": True, "policy_kwargs": {"squash_output": True, "use_expln": True}}]
)
@pytest.mark.parametrize("log_std_init", [-20, 20])
def test_the_widest_and_the_narrowest_noise_have_gradients(changes: dict[str, Any], log_std_init: int):
    kwargs = changes.get("policy_kwargs", {}) | {"log_std_init": log_std_init}
    resolve(params(ppo=changes | {"policy_kwargs": kwargs}), REGISTERED)


@pytest.mark.parametrize(
    ("registered", "told"),
    [
        ({"policy_kwargs": {"features_extractor_class": "NatureCNN"}}, "policy_kwargs: takes no features extractor"),
        ({"gamma": 1.5}, "gamma: Input should be less than or equal to 1"),
        ({"use_warp": True}, "use_warp: Extra inputs are not permitted"),
    ],
)
def test_a_registered_agent_that_is_not_for_this_ppo_is_refused_unless_the_params_mend_it(registered: Any, told: str):
    with pytest.raises(UserError, match=f"sim.agent: the registered agent's {told}.*; set it under ppo"):
        resolve(params(), REGISTERED | registered)
    if "use_warp" not in registered:
        mended = {"gamma": 0.5, "policy_kwargs": {"net_arch": [3]}}
        assert resolve(params(ppo=mended), REGISTERED | registered)["gamma"] == 0.5


def test_a_number_that_yaml_1_1_reads_as_text_is_a_number():
    settings = resolve(params(), REGISTERED | {"vf_coef": "5e-1", "learning_rate": "lin_1e-3"})
    assert (settings["vf_coef"], settings["learning_rate"]) == (0.5, "lin_1e-3")


def test_a_training_is_as_long_as_asked_for_and_iterations_come_first():
    train = {"num_envs": 10, "total_timesteps": 1000}
    assert agent.total_timesteps(params(train=train).train, 8) == 1000
    assert agent.total_timesteps(params(train=train | {"max_iterations": 3}).train, 8) == 240


def test_the_description_has_the_form_of_isaac_labs_agent_files():
    normalize = {"observations": False, "rewards": True, "clip_observations": 5.0, "until": None}
    asked = params(normalize=normalize).normalize
    settings = {"n_steps": 8, "gamma": 0.9}
    assert agent.describe(settings, asked, seed=9, device="cuda:1", timesteps=1000) == {
        **{"n_steps": 8, "gamma": 0.9, "seed": 9, "device": "cuda:1", "n_timesteps": 1000},
        **{"normalize_input": False, "normalize_value": True, "clip_obs": 5.0, "normalize_until": None},
    }
    assert settings == {"n_steps": 8, "gamma": 0.9}


def built(**sections: Any) -> TensorPPO:
    """PPO on toys, with the real params but for ``sections``."""
    asked = params(train={"num_envs": 4}, **sections)
    return agent.build_ppo(resolve(asked, REGISTERED), TensorToy(), asked.normalize, seed=1)  # type: ignore[arg-type]


def test_the_environments_are_normalised_as_the_params_say_and_rewards_are_not_clipped():
    normalize = {"observations": False, "rewards": True, "clip_observations": 5.0}
    env = built(normalize=normalize).env
    assert (env.norm_obs, env.norm_reward, env.clip_obs, env.gamma) == (False, True, 5.0, 0.9)
    assert env.clip_reward == np.inf
    normalize = {"observations": True, "rewards": False}
    env = built(normalize=normalize).env
    assert (env.norm_obs, env.norm_reward) == (True, False)


def test_each_schedule_decays_from_its_own_value_to_nothing():
    given = {"learning_rate": "lin_3e-3", "clip_range": "lin_0.2", "clip_range_vf": "lin_0.4", "gamma": 0.9}
    arguments = ppo_arguments(given)
    for name, start in (("learning_rate", 3e-3), ("clip_range", 0.2), ("clip_range_vf", 0.4)):
        decay = [arguments[name](left) for left in (1.0, 0.5, 0.0)]
        assert decay == pytest.approx([start, start / 2, 0.0])
    assert arguments["gamma"] == 0.9
    assert ppo_arguments({"clip_range": 0.1})["clip_range"] == 0.1
    assert given["learning_rate"] == "lin_3e-3"


def test_classes_are_those_of_torch_and_all_else_stays():
    given = {"activation_fn": "nn.ReLU", "optimizer_class": "torch.optim.SGD", "net_arch": {"pi": [3], "vf": []}}
    arguments = ppo_arguments({"policy_kwargs": given})["policy_kwargs"]
    assert arguments == {"activation_fn": nn.ReLU, "optimizer_class": optim.SGD, "net_arch": {"pi": [3], "vf": []}}
    assert given["activation_fn"] == "nn.ReLU"
    assert ppo_arguments({})["policy_kwargs"] == {}


def test_ppo_is_built_with_every_setting():
    asked = params(train={"num_envs": 4}, ppo={"learning_rate": "lin_1e-3", "target_kl": 0.05, "n_epochs": 3})
    settings = resolve(asked, REGISTERED)
    model = agent.build_ppo(settings, TensorToy(), asked.normalize, seed=11)  # type: ignore[arg-type]
    assert (model.n_steps, model.batch_size, model.n_epochs, model.gamma) == (8, 8, 3, 0.9)
    assert (model.seed, model.device.type, model.target_kl) == (11, "cpu", 0.05)
    assert [model.lr_schedule(0.5), model.clip_range(0.5)] == [5e-4, 0.3]
    assert isinstance(model.policy.mlp_extractor.policy_net[1], nn.Tanh)
    assert model.policy.mlp_extractor.policy_net[0].out_features == 4

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from pipeline.experiment.files import to_json
from pipeline.policy.policy import JSON_FILE, WEIGHTS_FILE, Policy, PolicyError
from pipeline.policy.schema import Space
from tests.toy_env import HIGH, LOW, Toy, make_env

pytestmark = pytest.mark.unit

TASK = "Toy"
AGENT = {
    "policy": "MlpPolicy",
    "n_steps": 8,
    "batch_size": 16,
    "n_epochs": 2,
    "policy_kwargs": {"activation_fn": "nn.ELU", "net_arch": [8, 6], "squash_output": False},
}
SQUASHED = AGENT | {
    "use_sde": True,
    "policy_kwargs": {"net_arch": {"pi": [5], "vf": []}, "squash_output": True, "log_std_init": -1.0},
}


def train(env, agent=AGENT, timesteps=64) -> Any:
    arguments = {key: value for key, value in agent.items() if key not in ("policy", "policy_kwargs")}
    policy_kwargs = dict(agent["policy_kwargs"])
    if "activation_fn" in policy_kwargs:
        policy_kwargs["activation_fn"] = nn.ELU
    return PPO("MlpPolicy", env, policy_kwargs=policy_kwargs, seed=1, device="cpu", **arguments).learn(timesteps)


@pytest.fixture
def env() -> VecNormalize:
    return VecNormalize(make_env(), clip_obs=2.0, clip_reward=np.inf)


@pytest.fixture
def model(env) -> Any:
    return train(env)


@pytest.fixture
def policy(model, env) -> Policy:
    return Policy.from_sb3(model, env, TASK, AGENT)


def observations(count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal([50.0, 0.0, -1.0], [3.0, 3e-3, 60.0], (count, 3)).astype(np.float32)


def act(policy: Policy, given: np.ndarray) -> np.ndarray:
    return policy.for_inference("cpu")(torch.from_numpy(given)).numpy()


def stock_predict(model: PPO, normalize: VecNormalize | None, given: np.ndarray) -> np.ndarray:
    return model.predict(normalize.normalize_obs(given) if normalize else given, deterministic=True)[0]


@pytest.mark.parametrize("agent", [AGENT, SQUASHED], ids=["clipped", "squashed"])
@pytest.mark.parametrize("settings", [{"clip_obs": 2.0}, {"clip_obs": np.inf}, {"norm_obs": False}, None])
def test_acts_as_stock_sb3_to_the_bit(agent, settings, tmp_path):
    normalize = None if settings is None else VecNormalize(make_env(), **settings)
    model = train(normalize or make_env(), agent)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100)  # a fresh policy hardly moves
    model.save(tmp_path / "stock.zip")
    Policy.from_sb3(model, normalize, TASK, agent).save(tmp_path)
    given = observations(257)
    actions = act(Policy.load(tmp_path), given)
    assert np.array_equal(actions, stock_predict(PPO.load(tmp_path / "stock.zip"), normalize, given))
    assert len(np.unique(actions, axis=0)) > 20


def test_actions_end_at_their_bounds(model, env):
    with torch.no_grad():
        model.policy.action_net.bias.copy_(torch.tensor([9.0, -9.0]))
    actions = act(Policy.from_sb3(model, env, TASK, AGENT), observations(5))
    assert np.array_equal(actions, np.tile([HIGH[0], LOW[1]], (5, 1)))


def test_files_hold_every_value(policy, env, tmp_path):
    policy.save(tmp_path)
    content = json.loads((tmp_path / JSON_FILE).read_text())
    assert content["normalization"]["observations"]["mean"] == env.obs_rms.mean.tolist()
    assert content["normalization"]["rewards"]["var"] == env.ret_rms.var
    assert content["normalization"]["clip_rewards"] is None
    assert content["observation_space"] == {"shape": [3], "dtype": "float32", "low": None, "high": None}
    assert content["action_space"]["low"] == [-1.0, float(np.float32(-0.1))]
    assert (content["task"], content["agent"], content["timesteps"], content["seed"]) == (TASK, AGENT, 64, 1)


def test_loads_what_it_saved(policy, tmp_path):
    policy.save(tmp_path)
    loaded = Policy.load(tmp_path)
    assert loaded.model_dump() == policy.model_dump()
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in policy.weights.items())
    loaded.save(tmp_path / "again")
    for name in (JSON_FILE, WEIGHTS_FILE):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_cannot_be_changed(policy):
    with pytest.raises(ValidationError, match="frozen"):
        policy.seed = 3


def test_sha256_is_that_of_both_files(policy, tmp_path):
    policy.save(tmp_path)
    content = (tmp_path / JSON_FILE).read_bytes() + (tmp_path / WEIGHTS_FILE).read_bytes()
    assert policy.sha256 == Policy.load(tmp_path).sha256 == hashlib.sha256(content).hexdigest()


def test_is_a_copy_that_further_training_leaves_alone(model, env, policy):
    before = Policy.from_sb3(model, env, TASK, AGENT).sha256
    model.learn(64)
    assert policy.sha256 == before != Policy.from_sb3(model, env, TASK, AGENT).sha256


def test_leaves_the_random_numbers_of_training_alone(model, env, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    policy = Policy.from_sb3(model, env, TASK, AGENT)
    policy.save(tmp_path)
    Policy.load(tmp_path).for_inference("cpu")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


@pytest.mark.parametrize("name", [JSON_FILE, WEIGHTS_FILE])
def test_missing_file_says_how_to_get_it(policy, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for folder, remedy in {"models": "run `make pull` or `dvc repro train`", "mine": "fetch .*"}.items():
        policy.save(Path(folder))
        (Path(folder) / name).unlink()
        with pytest.raises(PolicyError, match=rf"^{folder}/{name} is missing; {remedy}$"):
            Policy.load(Path(folder))


def test_missing_folder_is_a_missing_file(tmp_path):
    with pytest.raises(PolicyError, match=r"policy\.json is missing"):
        Policy.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"task"', '"tusk"', "task: Field required"),
        ('"seed": 1', '"seed": 1, "weights": {}', "was changed"),
        ('"seed": 1', '"seed": 1, "extra": 2', "extra: Extra inputs are not permitted"),
        ('"timesteps": 64', '"timesteps": "64"', "timesteps: Input should be a valid integer"),
        ('"timesteps": 64', '"timesteps":  64', "was changed"),
        ('"float32"', '"float64"', r"space\.dtype: Input should be 'float32'"),
        ('"count": ', '"count": NaN, "c": ', r"normalization\.observations\.count: Input should be a finite number"),
        ("nn.ELU", "nn.Elu", r"agent\.policy_kwargs\.activation_fn: .*Elu"),
        ("squash_output", "squash", r"agent\.policy_kwargs: .*squash"),
        ("MlpPolicy", "CnnPolicy", r"agent\.policy: Input should be 'MlpPolicy'"),
        ('"format": 2', '"form": 2', "has the format None, and this code reads 2"),
        ('"mean": [', '"mean": [0.5,', "one mean and one variance for each observation"),
        ("{", "{{", "Expecting property name"),
    ],
)
def test_refuses_a_changed_description(policy, tmp_path, old, new, message):
    policy.save(tmp_path)
    file = tmp_path / JSON_FILE
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(PolicyError, match=rf"policy\.json: .*{message}.*; fetch the policy again"):
        Policy.load(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "3", ""])
def test_refuses_a_description_that_is_no_mapping(policy, tmp_path, content):
    policy.save(tmp_path)
    (tmp_path / JSON_FILE).write_text(content)
    with pytest.raises(PolicyError, match=r"policy\.json: "):
        Policy.load(tmp_path)


def write_weights(folder: Path, content: bytes) -> None:
    """Write a file of weights, and its digest into the description, as somebody who forges both would."""
    (folder / WEIGHTS_FILE).write_bytes(content)
    described = json.loads((folder / JSON_FILE).read_text()) | {"weights_sha256": hashlib.sha256(content).hexdigest()}
    (folder / JSON_FILE).write_bytes(to_json(described))


def change(weights: dict[str, torch.Tensor], what: str) -> bytes:
    match what:
        case "missing":
            del weights["log_std"]
        case "too much":
            weights["other"] = torch.zeros(1)
        case "shape":
            weights["log_std"] = torch.zeros(3)
        case "dtype":
            weights["log_std"] = torch.zeros(2, dtype=torch.float64)
        case "nan":
            weights["log_std"][1] = torch.nan
    return safetensors.torch.save(weights, metadata={"by": "hand"} if what == "metadata" else None)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", r"does not fit policy\.json: log_std is missing or too much"),
        ("too much", r"does not fit policy\.json: other is missing or too much"),
        ("shape", r"does not fit policy\.json: log_std has shape \[3\]"),
        ("dtype", r"does not fit policy\.json: log_std has shape \[2\], torch.float64"),
        ("nan", "not finite, in log_std"),
        ("metadata", "was changed"),
    ],
)
def test_refuses_changed_weights(policy, tmp_path, what, message):
    policy.save(tmp_path)
    write_weights(tmp_path, change(dict(policy.weights), what))
    with pytest.raises(PolicyError, match=rf"policy\.safetensors: .*{message}.*; fetch the policy again"):
        Policy.load(tmp_path)


@pytest.mark.parametrize("length", [0, 7, 500])
def test_refuses_half_a_file_of_weights(policy, tmp_path, length):
    policy.save(tmp_path)
    content = (tmp_path / WEIGHTS_FILE).read_bytes()[:length]
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(PolicyError, match=r"policy\.safetensors: does not belong to .*policy\.json, or is damaged"):
        Policy.load(tmp_path)
    write_weights(tmp_path, content)
    with pytest.raises(PolicyError, match=r"policy\.safetensors: .*eader"):
        Policy.load(tmp_path)


def test_refuses_the_weights_of_another_policy(policy, model, env, tmp_path):
    policy.save(tmp_path / "first")
    Policy.from_sb3(model.learn(64), env, TASK, AGENT).save(tmp_path / "second")
    shutil.copy(tmp_path / "first" / WEIGHTS_FILE, tmp_path / "second")
    with pytest.raises(PolicyError, match=r"policy\.safetensors: does not belong to .*second/policy\.json"):
        Policy.load(tmp_path / "second")


def test_refuses_a_policy_of_another_training(policy, tmp_path):
    policy.save(tmp_path)
    metrics = tmp_path / "train.json"
    metrics.write_bytes(to_json({"policy_sha256": policy.sha256}))
    assert Policy.load_trained(tmp_path, metrics).sha256 == policy.sha256
    for content in ({"policy_sha256": "0" * 64}, {}):
        metrics.write_bytes(to_json(content))
        with pytest.raises(
            PolicyError, match=r"another policy than the one that .*train\.json tells of .*dvc checkout"
        ):
            Policy.load_trained(tmp_path, metrics)


def test_refuses_a_format_that_it_does_not_know(policy, tmp_path):
    policy.save(tmp_path)
    described = json.loads((tmp_path / JSON_FILE).read_text())
    (tmp_path / JSON_FILE).write_bytes(to_json(described | {"format": 3}))
    with pytest.raises(PolicyError, match=r"policy\.json: has the format 3, and this code reads 2"):
        Policy.load(tmp_path)


def test_diverged_weights_are_not_saved(model, env):
    with torch.no_grad():
        model.policy.value_net.bias.fill_(torch.inf)
    with pytest.raises(PolicyError, match=r"not finite, in value_net\.bias; nothing was saved"):
        Policy.from_sb3(model, env, TASK, AGENT)


def test_diverged_statistics_are_not_saved(model, env):
    env.obs_rms.var[1] = np.nan
    with pytest.raises(PolicyError, match=r"normalization\.observations\.var\.1: Input should be a finite number"):
        Policy.from_sb3(model, env, TASK, AGENT)


@pytest.mark.parametrize("value", [float("inf"), nn.ELU, np.float32(1.0), (1, 2)])
def test_settings_must_be_plain_and_finite(model, env, value):
    with pytest.raises(PolicyError, match=r"agent\.gamma"):
        Policy.from_sb3(model, env, TASK, AGENT | {"gamma": value})


def test_settings_must_be_the_models(model, env):
    with pytest.raises(PolicyError, match=r"does not fit policy\.json: mlp_extractor"):
        Policy.from_sb3(model, env, TASK, AGENT | {"policy_kwargs": {"net_arch": [8, 5]}})
    with pytest.raises(PolicyError, match=r"does not fit policy\.json: has 195 weights, and not 214"):
        Policy.from_sb3(model, env, TASK, AGENT | {"policy_kwargs": {"net_arch": [8, 7]}})


def edited(folder: Path, path: str, value: Any) -> None:
    """Write another value at ``path`` of policy.json, as :meth:`Policy.save` would have written it."""
    content = json.loads((folder / JSON_FILE).read_text())
    *parents, leaf = path.split(".")
    holder = content
    for name in parents:
        holder = holder[name]
    holder[leaf] = value
    (folder / JSON_FILE).write_bytes(to_json(content))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("normalization.observations.var", [1.0, -1e-9, 1.0], "var: a variance should not be negative"),
        ("normalization.rewards.var", -1.0, "var: a variance should not be negative"),
        ("normalization.observations.count", -1.0, "count: Input should be greater than or equal to 0"),
        ("normalization.epsilon", 0.0, "epsilon: Input should be greater than 0"),
        ("normalization.clip_observations", 0.0, "clip_observations: Input should be greater than 0"),
        ("normalization.clip_rewards", -1.0, "clip_rewards: Input should be greater than 0"),
        ("normalization.gamma", 1.1, "gamma: Input should be less than or equal to 1"),
        ("normalization.gamma", 10**400, "gamma: Input should be"),
        ("action_space.low", [2.0, -0.1], "action_space: Box all low values must be less than"),
        ("action_space.low", [-1.0] * 3, "action_space: low and high should be one bound, or one for each entry"),
        ("action_space.high", 1e39, r"action_space\.high\.\S+: Input should be less than or equal to 3402823"),
        ("observation_space.shape", [10**8], "Input should be less than or equal to 1000000"),
        ("observation_space.shape", [10**6], "one mean and one variance for each observation"),
        ("agent.policy_kwargs.net_arch", [10**6, 10**6], "at most 100000000 weights, and makes 2000008000002"),
        (
            "agent.policy_kwargs.net_arch",
            [4000, 4000],
            r"does not fit policy\.json: has 195 weights, and not 320",
        ),
        (
            "agent.policy_kwargs.net_arch",
            {"policy": [8]},
            r"agent\.policy_kwargs\.net_arch: should be the units of each",
        ),
        ("agent.policy_kwargs.activation_fn", "nn.GLU", "it changes the width of a layer"),
        ("agent.policy_kwargs.activation_fn", "nn.RReLU", "it draws random numbers"),
        ("agent.policy_kwargs.activation_fn", "nn.LazyBatchNorm1d", "it takes its shape from its first input"),
        ("agent.policy_kwargs.squash_output", True, "only available when using gSDE"),
        ("agent.policy_kwargs.features_extractor_class", "X", "takes no features extractor"),
        ("agent.gamma", 2.0, r"agent\.gamma: Input should be less than or equal to 1"),
    ],
    ids=str,
)
def test_refuses_a_policy_that_cannot_act_or_goes_on_training_to_nothing(policy, tmp_path, path, value, message):
    policy.save(tmp_path)
    edited(tmp_path, path, value)
    with pytest.raises(
        PolicyError, match=rf"policy\.(json|safetensors): .*{message}.*; fetch the policy again"
    ) as error:
        Policy.load(tmp_path)
    assert "\n" not in str(error.value)


def test_refuses_weights_that_are_finite_but_make_no_finite_action(policy, tmp_path):
    weights = dict(policy.weights)
    weights["mlp_extractor.policy_net.2.bias"] = torch.full((6,), 3e38)
    weights["action_net.weight"] = 3e38 * torch.tensor([[1.0, -1.0] * 3] * 2)
    policy.save(tmp_path)
    write_weights(tmp_path, safetensors.torch.save(weights))
    with pytest.raises(PolicyError, match=r"policy\.safetensors: has weights so large that its actions are not finite"):
        Policy.load(tmp_path)


@pytest.mark.parametrize("name", [JSON_FILE, WEIGHTS_FILE])
def test_a_folder_or_a_pipe_in_place_of_a_file_is_refused(policy, tmp_path, name):
    for make in (Path.mkdir, os.mkfifo):
        policy.save(tmp_path)
        (tmp_path / name).unlink()
        make(tmp_path / name)
        with pytest.raises(PolicyError, match=f"{name}: should be a file; fetch the policy again"):
            Policy.load(tmp_path)
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()


@pytest.mark.parametrize("nested", ["[" * 1500 + "]" * 1500, '{"a":' * 100_000])
def test_refuses_a_description_that_is_nested_without_end(policy, tmp_path, nested):
    policy.save(tmp_path)
    file = tmp_path / JSON_FILE
    for content in (nested, file.read_text().replace('"n_steps": 8', f'"n_steps": {nested}')):
        file.write_text(content)
        with pytest.raises(PolicyError, match=r"policy\.json: .*; fetch the policy again"):
            Policy.load(tmp_path)


def test_a_name_that_is_too_long_is_one_sentence(tmp_path):
    with pytest.raises(PolicyError, match=r"cannot be read: File name too long; fetch the policy again"):
        Policy.load(tmp_path / ("x" * 300))


BOX = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (("Other", Toy.observation_space, Toy.action_space), "the task Toy, not Other; run `dvc repro train`"),
        ((TASK, BOX, Toy.action_space), r"the observations Box\(-inf, inf, .*not Box\(-1"),
        ((TASK, Toy.observation_space, gym.spaces.Discrete(2)), r"the actions Box.*not Discrete\(2\)"),
    ],
)
def test_refuses_another_environment(policy, environment, message):
    policy.check_matches(TASK, Toy.observation_space, Toy.action_space)
    with pytest.raises(PolicyError, match=message):
        policy.check_matches(*environment)


@pytest.mark.parametrize(
    ("low", "high"), [([-1, -2], [1, 2]), ([-np.inf, 0.1], [np.inf, np.inf]), ([-np.inf] * 2, [0.0, 0.0])]
)
def test_spaces_survive_json(low, high):
    box = gym.spaces.Box(np.array(low, np.float32), np.array(high, np.float32))
    again = Space.model_validate_json(Space.from_gymnasium(box).model_dump_json()).to_gymnasium()
    assert again.dtype == box.dtype
    assert np.array_equal([again.low, again.high], [box.low, box.high])


@pytest.mark.parametrize("shape", [[], [2, 2], [0]])
def test_a_space_is_one_row_of_numbers(shape):
    with pytest.raises(ValidationError):
        Space.model_validate({"shape": shape, "dtype": "float32", "low": None, "high": None})


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3), gym.spaces.Box(0.0, 1.0, (2, 2)), gym.spaces.Box(0.0, 9.0, (2,), np.float64)]
)
def test_other_spaces_are_refused(space):
    with pytest.raises(ValueError, match="not a flat Box of float32"):
        Space.from_gymnasium(space)


def test_saving_replaces_a_link_and_leaves_no_litter(policy, tmp_path: Path):
    cache = tmp_path / "cache"
    cache.write_text("precious")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / JSON_FILE).symlink_to(cache)
    policy.save(tmp_path / "models")
    assert cache.read_text() == "precious"
    assert sorted(file.name for file in (tmp_path / "models").iterdir()) == [JSON_FILE, WEIGHTS_FILE]

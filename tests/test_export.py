from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from pipeline.policy.export_onnx import export_onnx
from pipeline.policy.export_sb3 import export_sb3
from pipeline.policy.policy import Policy
from tests.toy_env import make_env

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
AGENT = {
    "policy": "MlpPolicy",
    "learning_rate": "lin_1e-3",
    "clip_range": "lin_0.3",
    "n_steps": 8,
    "batch_size": 16,
    "n_epochs": 2,
    "policy_kwargs": {"activation_fn": "nn.ELU", "net_arch": [8, 6], "squash_output": False},
}


class OwnPPO(PPO):
    """As a project's own PPO may be: with attributes that no other program can read."""

    def __init__(self, *args, **kwargs):
        self.unpicklable = (item for item in ())
        super().__init__(*args, **kwargs)


def build(env, activation=nn.ELU, net_arch=(8, 6), *, cls=PPO, **arguments) -> Any:
    policy_kwargs = {"activation_fn": activation, "net_arch": net_arch if isinstance(net_arch, dict) else [*net_arch]}
    return cls("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=2, policy_kwargs=policy_kwargs, seed=1, **arguments)


def trained(settings, *, cls=PPO) -> tuple[Any, Any, Policy]:
    env = None if settings is None else VecNormalize(make_env(), **settings)
    model = build(env or make_env(), cls=cls, device="cpu", tensorboard_log=None).learn(64)
    return model, env, Policy.from_sb3(model, env, "Toy", AGENT)


def observations(count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal([50.0, 0.0, -1.0], [3e-2, 3e-3, 60.0], (count, 3)).astype(np.float32)


def act(policy: Policy, given: np.ndarray) -> np.ndarray:
    return policy.for_inference("cpu")(torch.from_numpy(given)).numpy()


def run_onnx(path: Path, given: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (actions,) = session.run(["actions"], {"observations": given})
    assert isinstance(actions, np.ndarray)
    return actions


def load(folder: Path) -> tuple[Any, Any]:
    """Load as Isaac Lab's ``play`` does."""
    env = VecNormalize.load(str(folder / "model_vecnormalize.pkl"), make_env(2))
    return PPO.load(folder / "model.zip", env, print_system_info=True, device="cpu"), env


def plain(values):
    """Tensors as lists, so that nested optimizer states can be compared."""
    if isinstance(values, dict):
        return {key: plain(value) for key, value in values.items()}
    return values.tolist() if isinstance(values, torch.Tensor) else values


@pytest.mark.parametrize("settings", [{"clip_obs": 2.0, "clip_reward": np.inf}, {"norm_obs": False}])
def test_stock_sb3_acts_as_the_policy_to_the_bit(settings, tmp_path):
    model, _, policy = trained(settings)
    export_sb3(tmp_path, model, policy)
    loaded, env = load(tmp_path)
    given = observations(65)
    assert np.array_equal(loaded.predict(env.normalize_obs(given), deterministic=True)[0], act(policy, given))


def test_statistics_and_settings_come_back(tmp_path):
    model, env, policy = trained({"clip_obs": 2.0, "clip_reward": np.inf, "gamma": 0.9, "epsilon": 1e-6})
    export_sb3(tmp_path, model, policy)
    loaded, normalize = load(tmp_path)
    for name in ("clip_obs", "clip_reward", "gamma", "epsilon", "norm_obs", "norm_reward", "training"):
        assert getattr(normalize, name) == getattr(env, name)
    for moments in ("obs_rms", "ret_rms"):
        mine, theirs = vars(getattr(normalize, moments)), vars(getattr(env, moments))
        assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)
    # Two rollouts of eight steps in four environments, two epochs each; loaded, it has the two environments given.
    assert (loaded.num_timesteps, loaded.n_epochs, loaded._n_updates, loaded.n_envs) == (64, 2, 4, 2)
    assert (loaded.seed, loaded.n_steps, loaded.batch_size) == (1, 8, 16)
    assert (loaded._total_timesteps, loaded._current_progress_remaining) == (64, 0.0)
    assert [loaded.lr_schedule(0.5), loaded.clip_range(0.5)] == pytest.approx([5e-4, 0.15])
    assert plain(loaded.policy.optimizer.state_dict()) == plain(model.policy.optimizer.state_dict())


def test_without_normalization_there_is_no_pickle(tmp_path):
    model, _, policy = trained(None)
    export_sb3(tmp_path, model, policy)
    assert [file.name for file in tmp_path.iterdir()] == ["model.zip"]
    loaded = PPO.load(tmp_path / "model.zip", make_env(), device="cpu")
    given = observations(65)
    assert np.array_equal(loaded.predict(given, deterministic=True)[0], act(policy, given))


def test_stock_sb3_goes_on_training(tmp_path):
    model, _, policy = trained({})
    export_sb3(tmp_path, model, policy)
    loaded, env = load(tmp_path)
    count = env.obs_rms.count
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 128
    assert env.obs_rms.count > count
    assert not torch.equal(loaded.policy.action_net.weight, policy.weights["action_net.weight"])


def test_changes_neither_the_model_nor_random_numbers(tmp_path):
    model, env, policy = trained({})
    attributes, weights = dict(vars(model)), policy.sha256
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    export_sb3(tmp_path, model, policy)
    export_onnx(tmp_path / "policy.onnx", policy)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert vars(model).keys() == attributes.keys()
    assert all(vars(model)[name] is value for name, value in attributes.items())
    assert Policy.from_sb3(model, env, "Toy", AGENT).sha256 == weights


@pytest.mark.slow
def test_a_subclass_is_exported_as_stock_ppo(tmp_path):
    model, _, policy = trained({}, cls=OwnPPO)
    export_sb3(tmp_path, model, policy)
    script = (
        "import sys; from stable_baselines3 import PPO; PPO.load('model.zip'); assert 'pipeline' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["CUDA_VISIBLE_DEVICES"] = ""  # SB3 warns of a GPU
    python = [sys.executable, "-W", "error::UserWarning", "-c"]
    subprocess.run([*python, script], cwd=tmp_path, env=environment, check=True)


def exported(folder: Path, model: PPO, policy: Policy) -> dict[str, bytes]:
    export_sb3(folder, model, policy)
    export_onnx(folder / "policy.onnx", policy)
    policy.save(folder)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_bytes_depend_on_values_alone(tmp_path):
    """Leftovers of a run, a policy read back from its files, equal names in two objects: all the same bytes."""
    model, env, policy = trained({})
    first = exported(tmp_path / "first", model, policy)
    model.start_time, model.tensorboard_log = time.time_ns(), "/somewhere"
    model.ep_info_buffer.append({"r": 1.0, "l": 2})
    optimizer = model.policy.optimizer
    for parameter, state in list(optimizer.state.items()):
        optimizer.state[parameter] = {f"{key[:1]}{key[1:]}": value for key, value in state.items()}
    assert exported(tmp_path / "second", model, Policy.load(tmp_path / "first")) == first
    assert exported(tmp_path / "third", model, Policy.from_sb3(model, env, "Toy", AGENT)) == first


EXPORT = """
import sys, pathlib
sys.path[:0] = [{root!r}, {tests!r}]
import test_export as test
model, env, policy = test.trained({{"clip_reward": 5.0}})
test.exported(pathlib.Path({folder!r}), model, policy)
"""


@pytest.mark.slow
def test_bytes_are_the_same_in_another_process(tmp_path):
    """With another hash seed, time zone, user, working folder and time."""
    model, _, policy = trained({"clip_reward": 5.0})
    here = exported(tmp_path / "here", model, policy)
    assert [*here] == ["model.zip", "model_vecnormalize.pkl", "policy.json", "policy.onnx", "policy.safetensors"]
    script = EXPORT.format(root=str(ROOT), tests=str(ROOT / "tests"), folder=str(tmp_path / "there"))
    changes = {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "USER": "other", "LOGNAME": "other", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=os.environ | changes, check=True)
    assert {name: (tmp_path / "there" / name).read_bytes() for name in here} == here


def test_files_name_no_folder_and_no_address(tmp_path):
    model, _, policy = trained({})
    exported(tmp_path, model, policy)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert onnx.load(tmp_path / "policy.onnx").producer_version == ""  # which differs from a CPU's PyTorch to a GPU's
    for content in [*members.values(), (tmp_path / "policy.onnx").read_bytes()]:
        assert b" at 0x" not in content
        assert str(ROOT).encode() not in content
        assert b"site-packages" not in content


@pytest.mark.parametrize("settings", [{"clip_obs": 2.0}, {"clip_obs": np.inf}, {"norm_obs": False}, None])
@pytest.mark.parametrize("count", [1, 300])
def test_onnx_acts_as_the_policy(settings, count, tmp_path):
    _, _, policy = trained(settings)
    export_onnx(tmp_path / "policy.onnx", policy)
    given = observations(count)
    assert np.abs(run_onnx(tmp_path / "policy.onnx", given) - act(policy, given)).max() < 1e-5


@pytest.mark.parametrize("net_arch", [[], [4, 5, 6], {"pi": [7], "vf": []}], ids=str)
@pytest.mark.parametrize("name", ["Tanh", "ReLU", "LeakyReLU", "SiLU", "GELU", "Mish", "SELU", "Softplus", "Hardswish"])
def test_onnx_takes_any_network(name, net_arch, tmp_path):
    model = build(make_env(), getattr(nn, name), net_arch, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100)  # a fresh policy hardly moves
    agent = AGENT | {"policy_kwargs": {"activation_fn": f"nn.{name}", "net_arch": net_arch}}
    policy = Policy.from_sb3(model, None, "Toy", agent)
    export_onnx(tmp_path / "policy.onnx", policy)
    given = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert np.abs(run_onnx(tmp_path / "policy.onnx", given) - act(policy, given)).max() < 1e-5


def test_onnx_squashes(tmp_path):
    env = make_env()
    kwargs = {"squash_output": True, "log_std_init": -1.0}
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=16, use_sde=True, policy_kwargs=kwargs, seed=1, device="cpu")
    policy = Policy.from_sb3(model, None, "Toy", {"policy": "MlpPolicy", "use_sde": True, "policy_kwargs": kwargs})
    export_onnx(tmp_path / "policy.onnx", policy)
    given = observations(20)
    assert np.abs(run_onnx(tmp_path / "policy.onnx", given) - act(policy, given)).max() < 1e-5


def test_onnx_says_what_it_takes(tmp_path, capfd):
    _, _, policy = trained({})
    capfd.readouterr()
    export_onnx(tmp_path / "policy.onnx", policy)
    assert capfd.readouterr() == ("", "")
    model = onnx.load(tmp_path / "policy.onnx")
    assert ([(opset.domain, opset.version) for opset in model.opset_import], model.ir_version) == ([("", 12)], 7)
    graph = model.graph
    for (value,), name, size in (graph.input, "observations", 3), (graph.output, "actions", 2):
        shape = value.type.tensor_type.shape.dim
        assert (value.name, shape[0].dim_param, shape[1].dim_value) == (name, "batch", size)

"""`make import-model`: a model of stock SB3 acts as it did, and a hostile one ends in a sentence and runs nothing."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import pickle
import resource
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from isaaclab_rl.sb3 import process_sb3_cfg
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Normalize
from pipeline.policy.policy import Policy
from pipeline.training.initial_policy import initial_policy
from tests.conftest import ROOT, Project
from tests.toy_env import Toy, make_env
from tools import import_model, read_sb3

pytestmark = pytest.mark.unit

# As Isaac Lab's agent files have it.
SETTINGS: dict[str, Any] = {
    "policy": "MlpPolicy",
    "n_steps": 16,
    "n_minibatches": 4,
    "n_epochs": 2,
    "gamma": 0.98,
    "ent_coef": 0.01,
    "learning_rate": "lin_3e-4",
    "clip_range": 0.2,
    "policy_kwargs": {"activation_fn": "nn.ELU", "net_arch": [8, 6], "squash_output": False},
    "seed": 3,
    "device": "cpu",
}
SQUASHED = {"use_sde": True, "policy_kwargs": {"net_arch": {"pi": [5], "vf": []}, "squash_output": True}}
NORMALIZED = Normalize(observations=True, rewards=True, clip_observations=2.0, until=None)
NORMALIZE = {"norm_obs": True, "norm_reward": True, "clip_obs": 2.0, "gamma": 0.98, "clip_reward": np.inf}


def train(folder: Path, normalize: dict[str, Any] | None = None, **changes: Any) -> None:
    """Write ``model.zip``, and ``stats.pkl`` if the training is normalised, as Isaac Lab's workflow does."""
    env: Any = VecNormalize(make_env(), **normalize) if normalize else make_env()
    model: Any = PPO(env=env, **process_sb3_cfg(copy.deepcopy(SETTINGS | changes), 4)).learn(128)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100 if "obs_rms" in vars(env) else 2)  # a fresh policy hardly moves
    model.save(folder / "model.zip")
    if normalize:
        env.save(str(folder / "stats.pkl"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(folder, NORMALIZE)
    return folder


@pytest.fixture
def stranger(trained: Path, tmp_path: Path) -> Path:
    """A folder of a stranger's files, to change."""
    return Path(shutil.copytree(trained, tmp_path / "stranger"))


def read(folder: Path) -> Policy:
    statistics = folder / "stats.pkl"
    return read_sb3.read(folder / "model.zip", statistics if statistics.exists() else None, "Toy")


def stock_actions(folder: Path, observations: np.ndarray) -> np.ndarray:
    model = PPO.load(folder / "model.zip", device="cpu")
    if (folder / "stats.pkl").exists():
        observations = VecNormalize.load(str(folder / "stats.pkl"), make_env()).normalize_obs(observations)  # type: ignore[assignment]
    return model.predict(observations, deterministic=True)[0]


@pytest.mark.parametrize("normalize", [NORMALIZE, {"norm_obs": False}, {"clip_obs": np.inf, "epsilon": 1e-3}, None])
@pytest.mark.parametrize("changes", [{}, SQUASHED, {"policy_kwargs": {}}], ids=["clipped", "squashed", "plain"])
def test_acts_as_stock_sb3_to_the_bit(normalize, changes, tmp_path: Path):
    train(tmp_path, normalize, **changes)
    read(tmp_path).save(tmp_path / "imported")
    given = np.random.default_rng(0).normal([50.0, 0.0, -1.0], [3e-2, 3e-3, 60.0], (257, 3)).astype(np.float32)
    actions = Policy.load(tmp_path / "imported").for_inference("cpu")(torch.from_numpy(given)).numpy()
    assert np.array_equal(actions, stock_actions(tmp_path, given))
    assert len(np.unique(actions, axis=0)) > 20


def test_a_training_may_start_from_it(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    policy = read(trained)
    policy.save(Path("pretrained"))
    start = initial_policy("pretrained", "Toy", policy.agent, NORMALIZED)
    assert start
    assert start.policy.sha256 == policy.sha256


def test_what_is_plain_comes_along_and_functions_are_left_out(trained: Path):
    policy = read(trained)
    assert (policy.task, policy.timesteps, policy.seed) == ("Toy", 128, 3)
    assert policy.agent["policy_kwargs"] == SETTINGS["policy_kwargs"]
    assert policy.agent["batch_size"] == 16
    assert {name: policy.agent[name] for name in ("gamma", "ent_coef", "n_steps", "n_epochs")} == {
        name: SETTINGS[name] for name in ("gamma", "ent_coef", "n_steps", "n_epochs")
    }
    assert not {"learning_rate", "clip_range"} & policy.agent.keys()
    assert policy.normalization
    assert (policy.normalization.clip_observations, policy.normalization.clip_rewards) == (2.0, None)


def test_old_spellings_are_read(stranger: Path):
    """As SB3 before 1.8 wrote the layers, with gym in place of gymnasium, and numpy 1 in place of 2."""
    expected = read(stranger)
    kwargs = {"activation_fn": torch.nn.ELU, "net_arch": [{"pi": [8, 6], "vf": [8, 6]}]}
    rewrite(stranger, policy_kwargs=serialized(kwargs))
    (stranger / "stats.pkl").write_bytes(older((stranger / "stats.pkl").read_bytes()))
    rewrite(stranger, observation_space={":serialized:": base64.b64encode(older(box_pickle())).decode()})
    policy = read(stranger)
    assert policy.normalization == expected.normalization
    assert policy.observation_space == expected.observation_space
    assert policy.agent["policy_kwargs"] == {"activation_fn": "nn.ELU", "net_arch": {"pi": [8, 6], "vf": [8, 6]}}


def box_pickle() -> bytes:
    return pickle.dumps(spaces.Box(-np.inf, np.inf, (3,), np.float32), protocol=4)


def older(content: bytes) -> bytes:
    """Give the names that older packages had; each is a length and the letters."""
    for new, old in ((b"gymnasium.spaces.box", b"gym.spaces.box"), (b"numpy._core.", b"numpy.core.")):
        for tail in (b"", b"multiarray", b"numeric"):
            content = content.replace(
                b"\x8c%c%s" % (len(new + tail), new + tail), b"\x8c%c%s" % (len(old + tail), old + tail)
            )
    return b"\x80\x04" + content[11:]  # without the frame, whose length has changed


# Hostile files


class Call:
    """What pickles as a call of ``function``, as a stranger may write it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def serialized(value: Any) -> dict[str, str]:
    return {":type:": "", ":serialized:": base64.b64encode(pickle.dumps(value)).decode()}


def rewrite(folder: Path, members: dict[str, Any] | None = None, /, **entries: Any) -> None:
    """Change entries of the JSON in ``model.zip``, and whole files in it."""
    with zipfile.ZipFile(folder / "model.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["data"] = json.dumps(json.loads(content["data"]) | entries).encode()
    content |= members or {}
    with zipfile.ZipFile(folder / "model.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)


def torch_file(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def refusal(folder: Path, file: str = "model.zip") -> str:
    with pytest.raises(UserError) as error:
        read(folder)
    sentence = str(error.value)
    assert sentence.startswith(f"import-model: {folder / file} cannot be imported: ")
    assert sentence.isprintable()
    return sentence.partition("imported: ")[2]


@pytest.mark.parametrize(
    "place", ["policy_kwargs", "observation_space", "policy_class", "action_space", "stats", "weights"]
)
def test_a_pickle_that_calls_a_function_runs_nothing(place: str, stranger: Path):
    command, file, sentence = Call(os.system, f"touch {stranger / 'ran'}"), "model.zip", "it names 'posix.system'"
    if place == "stats":
        (stranger / "stats.pkl").write_bytes(pickle.dumps(command))
        file = "stats.pkl"
    elif place == "weights":
        rewrite(stranger, {"policy.pth": torch_file({"log_std": command})})
        sentence = "policy.pth holds something other than weights"
    else:
        rewrite(stranger, **{place: serialized(command)})
    assert refusal(stranger, file).startswith(sentence)
    assert not (stranger / "ran").exists()
    pickle.loads(pickle.dumps(command))
    assert (stranger / "ran").exists(), "it would have"


@pytest.mark.parametrize("entry", ["learning_rate", "rollout_buffer_class", "ep_info_buffer"])
def test_what_is_not_needed_is_left_out_and_runs_nothing(entry: str, stranger: Path):
    expected = read(stranger)
    rewrite(stranger, **{entry: serialized(Call(os.system, f"touch {stranger / 'ran'}"))})
    assert read(stranger).sha256 == expected.sha256
    assert not (stranger / "ran").exists()


def test_an_allowed_name_is_not_looked_up_either(stranger: Path):
    found = read_sb3.unpickle(pickle.dumps(Call(np.dtype, "f4")))
    assert isinstance(found, read_sb3.Named)
    assert found.arguments == ("f4",)
    assert type(found).__mro__[1:] == (read_sb3.Named, object)


def test_a_name_cannot_steer_the_terminal(stranger: Path):
    rewrite(stranger, policy_kwargs={":serialized:": base64.b64encode(b"\x80\x04cos\n\x1b[2J\n.").decode()})
    assert "names 'os.\\x1b[2J'" in refusal(stranger)


class DictEnv(Toy):
    observation_space = spaces.Dict({"policy": Toy.observation_space})  # type: ignore[assignment]

    def _observe(self) -> Any:
        return {"policy": super()._observe()}


class PixelEnv(Toy):
    observation_space = spaces.Box(0, 255, (36, 36, 3), np.uint8)

    def _observe(self) -> Any:
        return self.observation_space.sample()


class ButtonEnv(Toy):
    action_space = spaces.Discrete(3)  # type: ignore[assignment]


SMALL = {"n_steps": 8, "device": "cpu"}


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: SAC("MlpPolicy", make_env(), device="cpu", buffer_size=10),
            "stable_baselines3.sac.policies.SACPolicy",
        ),
        (lambda: A2C("MlpPolicy", make_env(), device="cpu"), "it is no PPO with MlpPolicy"),
        (lambda: PPO("MlpPolicy", DummyVecEnv([ButtonEnv]), **SMALL), "gymnasium.spaces.discrete.Discrete"),
        (lambda: PPO("MultiInputPolicy", DummyVecEnv([DictEnv]), **SMALL), "MultiInputActorCriticPolicy"),
        (lambda: PPO("CnnPolicy", DummyVecEnv([PixelEnv]), **SMALL), "ActorCriticCnnPolicy"),
        (lambda: PPO("MlpPolicy", DummyVecEnv([PixelEnv]), **SMALL), "kind 'u1', and not float32"),
    ],
    ids=["SAC", "A2C", "discrete actions", "a dictionary", "pixels", "flattened pixels"],
)
def test_another_kind_of_model_is_refused_by_its_name(build: Any, sentence: str, tmp_path: Path):
    build().save(tmp_path / "model.zip")
    assert sentence in refusal(tmp_path)


def test_a_vec_normalize_that_is_not_given_is_asked_for(stranger: Path):
    (stranger / "stats.pkl").unlink()
    assert refusal(stranger).startswith("it was trained in a VecNormalize")


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"policy_kwargs": {"net_arch": [10**6, 10**6]}}, "at most 100000000 weights"),
        ({"policy_kwargs": {"net_arch": [64, {"pi": [64], "vf": [64]}]}}, "net_arch: should be the units"),
        ({"policy_kwargs": {"net_arch": [5]}}, "does not fit policy.json"),
        ({"policy_kwargs": serialized({"activation_fn": torch.nn.Linear})}, "torch.nn.modules.linear.Linear"),
        ({"policy_kwargs": serialized({"activation_fn": torch.nn.Threshold})}, "nn.Threshold cannot stand between"),
        ({"policy_kwargs": {"features_extractor_class": "nn.ELU"}}, "takes no features extractor"),
        ({"policy_kwargs": {"\x1b[2J": 1}}, "takes no [2J"),  # which would clear the terminal
        ({"observation_space": None}, "a space of it is no Box"),
        ({"observation_space": serialized(spaces.Box(0, 1, (10**6,), np.float32))}, "one mean and one variance for"),
        ({"observation_space": serialized(spaces.Box(0, 1, (2, 3), np.float32))}, "is not a flat Box of float32"),
        ({"num_timesteps": "many"}, "timesteps: Input should be a valid integer"),
        ({"gamma": [0.9]}, "agent.gamma: "),
        ({"policy_kwargs": {":serialized:": "%"}}, "it is not as SB3 writes it (Ran out of input)"),
        ({"policy_kwargs": {":serialized:": 1}}, "it is not as SB3 writes it ("),
        ({"policy_kwargs": {":serialized:": base64.b64encode(b"\x80\x05(" * 10**5 + b".").decode()}}, "MARK"),
        ({"policy_class": serialized(spaces.Box)}, "it is no PPO"),
    ],
)
def test_entries_that_make_no_policy_are_refused(entries: dict[str, Any], sentence: str, stranger: Path):
    rewrite(stranger, **entries)
    assert sentence in refusal(stranger)


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"data": None}, "There is no item named 'data'"),
        ({"policy.pth": None}, "There is no item named 'policy.pth'"),
        ({"data": b"[" * 10**6}, "recursion"),
        ({"data": b"[]"}, "it is not as SB3 writes it"),
        ({"data": b"{}"}, "it is no PPO"),
        ({"policy.pth": b"PK"}, "holds something other than weights"),
        ({"policy.pth": torch_file([1])}, "it is not as SB3 writes it"),
        ({"policy.pth": torch_file({"log_std": torch.zeros(2)})}, "does not fit policy.json"),
    ],
)
def test_files_in_the_zip_that_are_not_sb3s_are_refused(members: dict[str, Any], sentence: str, stranger: Path):
    rewrite(stranger, members)
    assert sentence in refusal(stranger)


@pytest.mark.parametrize("name", ["model.zip", "stats.pkl"])
@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9])
def test_a_truncated_file_is_refused(name: str, share: float, stranger: Path):
    content = (stranger / name).read_bytes()
    (stranger / name).write_bytes(content[: int(len(content) * share)])
    refusal(stranger, name)


def test_a_zip_bomb_is_not_unpacked(stranger: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read_sb3, "LARGEST", 10**7)
    rewrite(stranger, {"policy.pth": bytes(10**7 + 1)})
    assert (stranger / "model.zip").stat().st_size < 10**6
    assert refusal(stranger) == "policy.pth has 10000001 bytes, and at most 10000000 are read"


# Through the door


def door(folder: Path, *arguments: str, trust: str = "yes") -> Any:
    files = (f"FROM={folder}/model.zip", f"STATS={folder}/stats.pkl", "TASK=Toy", f"TO={folder}/policy")
    return Project(ROOT).run(
        "make", "--silent", "--old-file=setup", "import-model", *files, f"TRUST={trust}", *arguments, check=False
    )


@pytest.mark.slow
def test_it_warns_and_stops_unless_told_to_trust(stranger: Path):
    asked = door(stranger, trust="")
    assert asked.returncode
    assert asked.stderr.startswith(import_model.WARNING)
    assert not (stranger / "policy").exists()
    done = door(stranger)
    assert (done.returncode, done.stderr) == (0, "")
    assert Policy.load(stranger / "policy").sha256 == read(stranger).sha256
    assert {path.name for path in stranger.iterdir()} == {"model.zip", "stats.pkl", "policy"}


@pytest.mark.slow
def test_one_that_takes_all_memory_ends_in_a_sentence(stranger: Path):
    bytes_more_than_it_may_have = read_sb3.LIMITS[resource.RLIMIT_DATA] + 10**9
    weights = torch.zeros(1).expand(bytes_more_than_it_may_have // 4)
    rewrite(stranger, {"policy.pth": torch_file({"log_std": weights})})
    result = door(stranger)
    assert result.returncode
    assert result.stderr.startswith(f"import-model: {stranger}/model.zip cannot be imported: ")
    assert "can't allocate memory" in result.stderr.splitlines()[0]
    assert not (stranger / "policy").exists()


@pytest.mark.parametrize("code", ["import os; os.kill(os.getpid(), 11)", "import time; time.sleep(60)"])
def test_a_reader_that_dies_or_hangs_ends_in_a_sentence(code: str, stranger: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(import_model, "READER", (sys.executable, "-c", code))
    monkeypatch.setattr(import_model, "SECONDS", 1)
    with pytest.raises(UserError, match="takes too much memory or time"):
        import_model.import_model(str(stranger / "model.zip"), "", "Toy", stranger / "policy")
    assert {path.name for path in stranger.iterdir()} == {"model.zip", "stats.pkl"}


@pytest.mark.parametrize(
    ("model", "statistics", "target", "sentence"),
    [
        ("nowhere.zip", "", "new", "there is no file nowhere.zip"),
        ("model.zip", "nowhere.pkl", "new", "there is no file nowhere.pkl"),
        ("model.zip", "", ".", "TO: there is . already"),
    ],
)
def test_files_that_are_not_there_and_a_folder_that_is(model, statistics, target, sentence, stranger, monkeypatch):
    monkeypatch.chdir(stranger)
    with pytest.raises(UserError, match=sentence):
        import_model.import_model(model, statistics, "Toy", Path(target))

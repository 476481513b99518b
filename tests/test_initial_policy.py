"""The policy that a training starts from: what is taken, and what is refused, without a simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.experiment.paths import RANDOM_WEIGHTS
from pipeline.policy.policy import Policy
from pipeline.policy.sb3_arguments import ppo_arguments
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.training.initial_policy import Start, initial_policy, load_start
from pipeline.training.optimizer_state import OPTIMIZER_FILE, encode_optimizer
from tests.conftest import ROOT
from tests.toy_env import TensorToy

pytestmark = pytest.mark.unit

TASK = "Isaac-Cartpole"
SETTINGS: dict[str, Any] = {"policy": "MlpPolicy", "n_steps": 8, "batch_size": 16, "policy_kwargs": {"net_arch": [5]}}


def model(seed: int, settings: dict[str, Any] = SETTINGS, **normalize: Any) -> Any:
    arguments: dict[str, Any] = settings | {"env": TensorNormalize(TensorToy(), **normalize)}  # type: ignore[arg-type]
    return TensorPPO(**arguments, seed=seed, device="cpu")


def trained(
    folder: Path, task: str = TASK, settings: dict[str, Any] = SETTINGS, *, optimizer: bool = False, **normalize: Any
) -> Policy:
    made = model(1, settings, **normalize).learn(64)
    policy = Policy.from_sb3(made, made.env, task, settings)
    policy.save(folder)
    if optimizer:
        (folder / OPTIMIZER_FILE).write_bytes(encode_optimizer(made.policy.optimizer))
    return policy


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the project's folder, as every stage does; the policies of these tests are in folders below it."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def initial(folder: str | Path, settings: dict[str, Any] = SETTINGS, *, observations: bool = True) -> Start | None:
    normalize = load_params(ROOT / "params.yaml").normalize.model_copy(update={"observations": observations})
    return initial_policy(str(folder), TASK, settings, normalize)


def test_random_weights_are_no_policy():
    assert initial(RANDOM_WEIGHTS) is None


def test_a_policy_is_taken_with_its_weights_and_its_normalisation_whatever_the_other_settings():
    policy = trained(Path("pretrained"))
    taken = initial("pretrained", SETTINGS | {"n_steps": 16, "learning_rate": 1.0, "gamma": 0.5})
    assert taken is not None
    assert taken.policy.sha256 == policy.sha256
    other = model(2)
    load_start(other, taken)
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


def test_a_policy_without_statistics_of_rewards_leaves_those_of_the_training_at_their_beginning():
    trained(Path("pretrained"), norm_reward=False)
    taken = initial("pretrained")
    assert taken is not None
    other = model(2)
    load_start(other, taken)
    assert (other.env.ret_rms.mean.item(), other.env.ret_rms.var.item()) == (0.0, 1.0)
    assert other.env.ret_rms.count.item() == pytest.approx(1e-4)


def test_a_policy_sees_observations_as_it_was_trained():
    trained(Path("normalised"))
    trained(Path("raw"), norm_obs=False)
    for folder, observations in (("normalised", True), ("raw", False)):
        assert initial(folder, observations=observations)
        with pytest.raises(UserError, match=f"set normalize.observations to {str(observations).lower()}, as the"):
            initial(folder, observations=not observations)


@pytest.mark.parametrize("change", [{"policy_kwargs": {"net_arch": [6]}}, {"use_sde": True}], ids=str)
def test_a_policy_of_other_layers_is_refused(change: dict[str, Any]):
    trained(Path("pretrained"))
    with pytest.raises(
        UserError, match=r"other layers than ppo asks for; set ppo.policy_kwargs and ppo.use_sde as in "
    ):
        initial("pretrained", SETTINGS | change)


def test_a_policy_of_another_task_and_what_is_no_folder_are_refused():
    trained(Path("pretrained"), task="Isaac-Ant")
    with pytest.raises(UserError, match=f"trained for the task Isaac-Ant, not {TASK}"):
        initial("pretrained")
    with pytest.raises(
        UserError,
        match=rf"should be {RANDOM_WEIGHTS} or a folder with a policy that .* \(given: .*policy.json",
    ):
        initial("pretrained/policy.json")


@pytest.mark.parametrize(
    "init_from",
    [
        *("../outside", "link", "/absolute", ".", "..", "nowhere", "loop"),
        *("x" * 300, "pretrained/" + "x/" * 3000, "pretrained\0", "", "assets/../../outside"),
    ],
    ids=lambda name: repr(name[:30]),
)
def test_what_a_clone_could_not_find_below_its_own_folder_is_refused(init_from: str):
    for folder in (Path("../outside"), Path("pretrained")):
        trained(folder)
    Path("link").symlink_to(Path("../outside").resolve())
    Path("loop").symlink_to("loop")
    given = str(Path("pretrained").resolve()) if init_from == "/absolute" else init_from
    with pytest.raises(
        UserError, match=r"^train.init_from: should be .* by its path below the project's folder"
    ) as error:
        initial(given)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_link_to_a_folder_of_the_project_is_one():
    trained(Path("pretrained"))
    Path("link").symlink_to("pretrained")
    assert initial("link")


def test_a_policy_that_cannot_be_read_is_refused():
    policy = trained(Path("pretrained"))
    weights = {name: tensor + 1 for name, tensor in policy.weights.items()}
    Path("pretrained/policy.safetensors").write_bytes(safetensors.torch.save(weights))
    with pytest.raises(UserError, match=r"train.init_from: pretrained/policy\.safetensors: does not belong to "):
        initial("pretrained")


@pytest.mark.parametrize("folder", ["models", "models/checkpoints/512"])
def test_what_training_itself_writes_is_to_be_copied_first(folder: str):
    trained(Path(folder))
    with pytest.raises(UserError, match=r"^train.init_from: models/ is what training writes; copy it: `cp -rL "):
        initial(folder)


@pytest.mark.parametrize("change", [{"activation_fn": "nn.ReLU"}, {"squash_output": True}], ids=str)
def test_layers_that_compute_otherwise_are_refused(change: dict[str, Any]):
    gsde = SETTINGS | {"use_sde": True}
    trained(PRETRAINED, settings=gsde)
    asked = gsde | {"policy_kwargs": SETTINGS["policy_kwargs"] | change}
    with pytest.raises(UserError, match=r"trained with another activation or squashing; set ppo\.policy_kwargs as in"):
        initial(PRETRAINED, asked)


def kept(model: Any) -> dict[int, dict[str, torch.Tensor]]:
    return model.policy.optimizer.state_dict()["state"]


PRETRAINED = Path("pretrained")
MOMENTUM = {"optimizer_class": "optim.SGD", "optimizer_kwargs": {"momentum": 0.9}}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, {"step", "exp_avg", "exp_avg_sq"}),
        ({"optimizer_class": "optim.AdamW", "optimizer_kwargs": {"amsgrad": True}}, {"max_exp_avg_sq"}),
        (MOMENTUM, {"momentum_buffer"}),
        ({"optimizer_class": "optim.SGD"}, set()),
    ],
    ids=["Adam", "AdamW", "SGD with momentum", "SGD"],
)
def test_the_optimizer_goes_on_from_its_state_with_the_learning_rate_asked_for(change, names):
    settings = SETTINGS | {"policy_kwargs": SETTINGS["policy_kwargs"] | change}
    arguments = ppo_arguments(settings)
    made = model(1, arguments).learn(64)
    Policy.from_sb3(made, made.env, TASK, settings).save(PRETRAINED)
    (PRETRAINED / OPTIMIZER_FILE).write_bytes(encode_optimizer(made.policy.optimizer))
    taken = initial(PRETRAINED, settings)
    other = model(2, arguments | {"learning_rate": 0.125})
    assert taken is not None
    load_start(other, taken)
    mine, theirs = kept(other), kept(made)
    assert mine.keys() == theirs.keys()
    assert names <= {name for of in theirs.values() for name in of}
    for number, of in theirs.items():
        assert of.keys() == mine[number].keys()
        assert all(torch.equal(mine[number][name], tensor) for name, tensor in of.items())
    assert other.policy.optimizer.param_groups[0]["lr"] == 0.125
    other.learn(32)


def test_a_policy_without_its_optimizers_state_starts_with_a_fresh_one():
    trained(PRETRAINED)
    taken = initial(PRETRAINED)
    assert taken is not None
    assert taken.optimizer is None
    other = model(2)
    load_start(other, taken)
    assert kept(other) == {}


@pytest.mark.parametrize(
    "change", [{"optimizer_class": "optim.AdamW"}, MOMENTUM, {"optimizer_kwargs": {"amsgrad": True}}]
)
def test_the_state_of_another_optimizer_is_refused(change: dict[str, Any]):
    trained(PRETRAINED, optimizer=True)
    asked = SETTINGS | {"policy_kwargs": SETTINGS["policy_kwargs"] | change}
    with pytest.raises(
        UserError, match=r"optimizer.safetensors is of another optimizer.* as in .*policy.json, or remove"
    ):
        initial(PRETRAINED, asked)


def test_the_state_of_other_layers_or_a_damaged_one_is_refused():
    wider = SETTINGS | {"policy_kwargs": {"net_arch": [6]}}
    trained(Path("wider"), settings=wider, optimizer=True)
    trained(PRETRAINED, optimizer=True)
    file = PRETRAINED / OPTIMIZER_FILE
    content = file.read_bytes()
    state = safetensors.torch.load(content)
    file.write_bytes((Path("wider") / OPTIMIZER_FILE).read_bytes())
    with pytest.raises(UserError, match="of another optimizer, or of other layers"):
        initial(PRETRAINED)
    first = next(iter(state))
    for damaged in (content[:-3], b"", safetensors.torch.save(state | {first: state[first] / 0})):
        file.write_bytes(damaged)
        with pytest.raises(
            UserError, match=r"train.init_from: .*optimizer.safetensors: .*; fetch it again, or remove it"
        ):
            initial(PRETRAINED)

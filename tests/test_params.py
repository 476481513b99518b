"""Which values params.yaml may have: the last that is allowed and the first that is not, of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.experiment.errors import UserError, did_you_mean
from pipeline.experiment.params import Params, check_batch_size
from pipeline.experiment.params_file import load_params, read_sections
from tests.conftest import ROOT

pytestmark = pytest.mark.unit


def with_value(path: str, value: Any) -> Params:
    """The committed params with another value at ``path``."""
    params = load_params(ROOT / "params.yaml").model_dump()
    *sections, leaf = path.split(".")
    section = params
    for name in sections:
        section = section[name]
    section[leaf] = value
    return Params.model_validate(params)


def value_at(params: Any, path: str) -> Any:
    for name in path.split("."):
        params = getattr(params, name)
    return params


@pytest.mark.parametrize(
    ("path", "given", "meant"),
    [
        ("seed", 0, 0),
        ("seed", 2**32 - 1, 2**32 - 1),
        ("seed", "7", 7),
        ("sim.device", "cpu", "cpu"),
        ("sim.device", "cuda", "cuda"),
        ("sim.device", "cuda:12", "cuda:12"),
        ("sim.threads", 1, 1),
        ("ppo.gamma", 0, 0.0),
        ("ppo.gamma", 1, 1.0),
        ("ppo.gae_lambda", 0, 0.0),
        ("ppo.gae_lambda", 1, 1.0),
        ("ppo.n_steps", 4, 4),
        ("ppo.ent_coef", -0.5, -0.5),
        ("ppo.vf_coef", "1e-05", 1e-5),
        ("ppo.max_grad_norm", 1e-9, 1e-9),
        ("ppo.sde_sample_freq", -1, -1),
        ("ppo.learning_rate", 1e-12, 1e-12),
        ("ppo.learning_rate", 10, 10.0),
        ("ppo.clip_range_vf", 1e6, 1e6),
        ("ppo.n_steps", 390_624, 390_624),
        ("ppo.n_epochs", 10**4, 10**4),
        ("ppo.ent_coef", -1e6, -1e6),
        ("ppo.vf_coef", 0, 0.0),
        ("ppo.sde_sample_freq", 10**6, 10**6),
        ("ppo.stats_window_size", 10**6, 10**6),
        ("ppo.learning_rate", "1e-3", 1e-3),
        ("ppo.learning_rate", "lin_1.23456789e-3", "lin_0.00123456789"),
        ("ppo.clip_range_vf", None, None),
        ("ppo.target_kl", None, None),
        ("ppo.policy_kwargs", None, None),
        ("ppo.policy_kwargs.net_arch", [], []),
        ("ppo.policy_kwargs.net_arch", ["3", 10**6], [3, 10**6]),
        ("ppo.policy_kwargs.net_arch", {"vf": [], "pi": [3.0]}, {"vf": [], "pi": [3]}),
        ("ppo.policy_kwargs.log_std_init", -20, -20.0),
        ("ppo.policy_kwargs.optimizer_class", "torch.optim.SGD", "torch.optim.SGD"),
        ("normalize.until", None, None),
        ("train.checkpoint_every", 1, 1),
        ("train.total_timesteps", 1.0, 1),
        ("render.camera.eye", ["1e-3", -2, 3.5], (1e-3, -2.0, 3.5)),
        ("render.width", 2, 2),
        ("env", {"any": {"thing": 1}}, {"any": {"thing": 1}}),
    ],
)
def test_is_allowed_and_means(path: str, given: Any, meant: Any):
    value = value_at(with_value(path, given), path)
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    ("path", "given"),
    [
        *[("seed", value) for value in (-1, -2, 2**32, 1.5, True, None, "x")],
        *[("sim.device", value) for value in ("auto", "cuda:", "cuda:x", "cpu:0", "gpu", " cpu", "cuda:0 ")],
        *[("sim.frontend", "jax"), ("sim.physics", "mujoco"), ("sim.task", 3), ("sim.agent", None)],
        *[("sim.deterministic", value) for value in (1, "true", None)],
        *[("sim.threads", value) for value in (0, -1, 1.5, True)],
        *[("ppo.gamma", value) for value in (-1e-9, 1 + 1e-9, float("nan"), True, "x")],
        *[("ppo.gae_lambda", value) for value in (-1e-9, 1 + 1e-9)],
        *[("ppo.target_kl", value) for value in (0, -0.1, float("inf"))],
        *[("ppo.max_grad_norm", value) for value in (0, -1)],
        *[("ppo.ent_coef", value) for value in (float("inf"), float("nan"))],
        *[(f"ppo.{name}", 0) for name in ("n_steps", "batch_size", "n_epochs", "stats_window_size")],
        *[("ppo.learning_rate", value) for value in (0, -1, "lin_0", "lin_-1", "lin_", "lin_inf", "inf", "nan", True)],
        *[("ppo.learning_rate", value) for value in ("exp_1", [1e-3], {}, 10.1, "lin_10.1", 1e-13, 1e308, 10**400)],
        *[(f"ppo.{name}", value) for name in ("clip_range", "clip_range_vf") for value in (0, "lin_x", 1e-320, 1e7)],
        *[("ppo.n_steps", 10**6 + 1), ("ppo.n_steps", 1e30), ("ppo.n_epochs", 10**4 + 1), ("ppo.n_minibatches", 1e30)],
        *[("ppo.ent_coef", 1.1e6), ("ppo.ent_coef", -1.1e6), ("ppo.vf_coef", 1.1e6), ("ppo.vf_coef", -1e-9)],
        *[("ppo.max_grad_norm", 1e-13), ("ppo.max_grad_norm", 1e13), ("ppo.target_kl", 1e308)],
        *[("ppo.sde_sample_freq", -2), ("ppo.sde_sample_freq", 10**6 + 1), ("ppo.stats_window_size", 10**6 + 1)],
        *[("ppo.policy", "CnnPolicy"), ("ppo.policy_kwargs", [1]), ("ppo.use_sde", 1)],
        *[("ppo.policy_kwargs.net_arch", value) for value in ([0], [1.5], [True], [[3]], 3, [1e8], [1] * 101)],
        *[("ppo.policy_kwargs.net_arch", value) for value in ({}, {"pi": [1]}, {"pi": [1], "vf": [2], "value": [3]})],
        *[("ppo.policy_kwargs.net_arch", value) for value in ({"policy": [1], "value": [2]}, {"pi": [0], "vf": []})],
        *[(f"ppo.policy_kwargs.{name}", "no") for name in ("ortho_init", "full_std", "use_expln", "squash_output")],
        *[("ppo.policy_kwargs.log_std_init", value) for value in (-20.1, 20.1, float("nan"))],
        *[("ppo.policy_kwargs.activation_fn", 3), ("ppo.policy_kwargs.use_sde", True)],
        *[("ppo.policy_kwargs.optimizer_class", value) for value in ("optim.RMSprop", "SGD ", 3)],
        *[("ppo.policy_kwargs.optimizer_kwargs", {key: True}) for key in ("fused", "foreach", "capturable", "lr")],
        *[("ppo.policy_kwargs.optimizer_kwargs", {"betas": value}) for value in ([0.9], [0.9, 1], [0.9] * 3, 0.9)],
        *[("ppo.policy_kwargs.optimizer_kwargs", {"eps": value}) for value in (0, -1, 1.1)],
        *[("ppo.policy_kwargs.optimizer_kwargs", value) for value in ({"amsgrad": 1}, {"weight_decay": -1}, [1])],
        *[("normalize.clip_observations", 0), ("normalize.until", 0), ("normalize.rewards", "yes")],
        *[(f"train.{name}", 0) for name in ("num_envs", "total_timesteps", "max_iterations", "checkpoint_every")],
        *[("train.log_interval", 0), ("train.video.interval", 0), ("train.video.length", 0), ("train.init_from", None)],
        *[("evaluate.seed", 2**32), ("evaluate.episodes", 0), ("evaluate.num_envs", 0)],
        *[(f"render.{name}", 0) for name in ("episodes", "length", "num_envs", "width", "height", "fps")],
        *[("render.seed", -1), ("render.width", 161), ("render.height", 91)],
        *[("render.camera.eye", value) for value in ([1, 2], [1, 2, 3, 4], [1, 2, float("nan")], 1, None)],
        *[("render.camera.focal_length", 0), ("env", None), ("env", [1])],
    ],
)
def test_is_refused(path: str, given: Any):
    with pytest.raises(ValidationError):
        with_value(path, given)


@pytest.mark.parametrize("path", ["more", "sim.more", "ppo.more", "train.video.more", "render.camera.more"])
def test_there_is_no_other_key(path: str):
    with pytest.raises(ValidationError):
        with_value(path, 1)


@pytest.mark.parametrize("path", ["seed", "sim.task", "env", "train.video.length", "normalize.until"])
def test_no_key_may_be_left_out_but_those_of_ppo(path: str):
    params = read_sections(ROOT / "params.yaml")
    section, _, leaf = path.rpartition(".")
    holder = params
    for name in filter(None, section.split(".")):
        holder = holder[name]
    del holder[leaf]
    with pytest.raises(ValidationError, match="Field required"):
        Params.model_validate(params)
    params = read_sections(ROOT / "params.yaml")
    params["ppo"] = {}
    assert Params.model_validate(params).ppo.model_dump(exclude_none=True) == {}


def sentence(policy_kwargs: dict[str, Any], folder: Path) -> str:
    """What a user is told of a params.yaml with these ``policy_kwargs``."""
    params = read_sections(ROOT / "params.yaml")
    params["ppo"]["policy_kwargs"] = policy_kwargs
    (folder / "params.yaml").write_text(json.dumps(params))
    with pytest.raises(UserError) as error:
        load_params(folder / "params.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("policy_kwargs", "told"),
    [
        ({"net_arc": [3]}, " takes no net_arc; did you mean net_arch?"),
        ({"net_arch": {"policy": [3], "value": [4]}}, ".net_arch should be the units of each hidden lay"),
        ({"net_arch": [0]}, "at most 100 layers of 1 to 1000000 units (given: [0])"),
        ({"ortho_init": "no"}, ".ortho_init: input should be a valid boolean (given: 'no')"),
        ({"optimizer_class": "optim.RMSprop"}, ".optimizer_class: should be one of Adam, AdamW, SGD (given: 'optim.RM"),
        ({"optimizer_kwargs": {"beta": [0.9, 0.9]}}, ".optimizer_kwargs takes no beta; did you mean betas?"),
        ({"optimizer_kwargs": {"momentum": 0.9}}, ".optimizer_kwargs takes no momentum; there are betas, eps, weight"),
        ({"optimizer_class": "optim.SGD", "optimizer_kwargs": {"eps": 1e-5}}, " takes no eps; there are momentum,"),
        ({"optimizer_class": "AdamW", "optimizer_kwargs": {"decoupled_weight_decay": True}}, " takes no decou"),
        ({"optimizer_class": "SGD", "optimizer_kwargs": {"nesterov": True}}, " takes nesterov with a momentum above 0"),
        ({"features_extractor_class": "NatureCNN"}, " takes no features extractor: the networks read the flat"),
    ],
    ids=str,
)
def test_of_the_policy_a_wrong_key_or_value_is_named_with_what_is_right(tmp_path: Path, policy_kwargs: dict, told: str):
    said = sentence(policy_kwargs, tmp_path)
    assert "params.yaml: ppo.policy_kwargs" in said
    assert told in said
    assert "\n" not in said


def test_params_cannot_be_changed():
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        params.train.num_envs = 3  # type: ignore[misc]


def test_an_evaluation_has_other_starts_than_the_training():
    assert with_value("evaluate.seed", 43).evaluate.seed == 43
    with pytest.raises(ValidationError, match=r"evaluate\.seed should differ from seed"):
        with_value("evaluate.seed", 42)


def test_minibatches_divide_the_rollout():
    check_batch_size(64, 16, 8)
    for size in (48, 256):
        with pytest.raises(ValueError, match=rf"rollout of 128 \(train.num_envs 8 x ppo.n_steps 16\), and {size} does"):
            check_batch_size(size, 16, 8)


def test_a_rollout_fits_into_a_machine():
    check_batch_size(10**4, 10**4, 10**4)
    with pytest.raises(ValueError, match=r"train.num_envs 10001 x ppo.n_steps 10000 should be a rollout of at most 1"):
        check_batch_size(10**4, 10**4, 10**4 + 1)


def test_yaml_is_read_as_dvc_reads_it(tmp_path):
    """YAML 1.2: 1e-3 is a number, and yes and on are text."""
    (tmp_path / "params.yaml").write_text("rate: 1e-3\nyes: on\ntext: 'ä'\n", encoding="utf-8")
    assert read_sections(tmp_path / "params.yaml") == {"rate": 0.001, "yes": "on", "text": "ä"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "params.yaml is missing; run the stage in the project's folder"),
        (b"a: [", "params.yaml is not valid YAML"),
        (b"\xff\xfe", "params.yaml is not valid YAML"),
        (b"- 1\n", "params.yaml has no sections"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, content: bytes | None, sentence: str):
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        load_params(path)
    assert "\n" not in str(error.value)


def test_a_name_that_is_nearly_right_is_suggested_and_else_all_are():
    assert did_you_mean("lerning_rate", ["gamma", "learning_rate"]) == "did you mean learning_rate?"
    assert did_you_mean("num", ["nums", "numb", "numx", "numy"]).count(" or ") == 2
    assert did_you_mean("zzz", ["gamma", "seed"]) == "there are gamma, seed"

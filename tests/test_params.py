"""Which values params.yaml may have: the last that is allowed and the first that is not, of each kind."""

from __future__ import annotations

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
        ("ppo.learning_rate", 3, 3.0),
        ("ppo.learning_rate", "1e-3", 1e-3),
        ("ppo.learning_rate", "lin_1.23456789e-3", "lin_0.00123456789"),
        ("ppo.clip_range_vf", None, None),
        ("ppo.target_kl", None, None),
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
        *[("ppo.learning_rate", value) for value in ("exp_1", [1e-3], {})],
        *[("ppo.clip_range", value) for value in (0, "lin_x")],
        *[("ppo.policy", "CnnPolicy"), ("ppo.policy_kwargs", [1]), ("ppo.use_sde", 1)],
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

"""Invented inputs: whatever it is, it is taken, or refused in one sentence. `make fuzz` invents for an hour.

Here each test takes seconds, and invents the same every time. What `make fuzz` finds becomes an example or a test.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.experiment.records import read_records
from pipeline.experiment.resume_store import ResumeStore, forget_recorded
from tests.conftest import ROOT

pytestmark = pytest.mark.unit

SCALE = int(os.environ.get("FUZZ", "0"))  # how many times as long as in the suite; 0: the suite, the same every time


def tries(count: int) -> settings:
    """Settings for a test that invents ``count`` inputs in the suite."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=count * max(SCALE, 1), deadline=None, derandomize=not SCALE, suppress_health_check=checks
    )


ODD = st.sampled_from(
    [
        *(0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**400, 0.5, -0.0, 1e-320, 1e39, 1e308, math.inf, -math.inf, math.nan),
        *("", " ", "no", "null", "1e-05", "lin_1e-3", "lin_", "lin_nan", "lin_lin_1", "cuda:99", "-1", "٣", "\x00"),
        *("a" * 300, "../outside", "/", "assets", "assets/cartpole.usda", "file:///etc/passwd", "README.md", "models"),
        *("nn.GLU", "nn.ELU", "nn.L1Loss", "nn.LazyLinear", "nn.modules", "optim.RMSprop", "os:system", "lambda: 0"),
        *("numpy:mean", "isaaclab.envs.mdp:is_alive", "nope:nope", "{ENV_REGEX_NS}/Robot", "Isaac-Ant", "warp"),
        *([], {}, None, True, False, [1, 2, 3], ["a"], [[1]], {"pi": [4]}, {"policy": [4]}, {"a": {"b": {}}}),
    ]
)
VALUES = st.recursive(
    ODD | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def assert_one_sentence(error: UserError) -> None:
    text = str(error)
    assert text.strip()
    assert "\n" not in text
    assert len(text) < 2000


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in nested dictionaries."""
    for name, item in value.items() if isinstance(value, dict) else ():
        yield (*path, name)
        yield from paths_of(item, (*path, name))


SHIPPED = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
PATHS = st.sampled_from(list(paths_of(SHIPPED)))


def change(params: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    *above, name = path
    for key in above:
        params = params.get(key, {}) if isinstance(params, dict) else {}
    if isinstance(params, dict):
        params[name] = value


def load(folder: Path, content: bytes) -> None:
    """Load params.yaml with this content: params, or one sentence."""
    path = folder / "params.yaml"
    path.write_bytes(content)
    try:
        load_params(path)
    except UserError as error:
        assert_one_sentence(error)


@tries(100)
@given(changes=st.lists(st.tuples(PATHS, VALUES), min_size=1, max_size=3), extra=st.dictionaries(st.text(), VALUES))
def test_params_of_any_values(tmp_path: Path, changes, extra):
    params = copy.deepcopy(SHIPPED)
    for path, value in changes:
        change(params, path, value)
    text = io.BytesIO()
    YAML(typ="safe", pure=True).dump(params | extra, text)
    load(tmp_path, text.getvalue())


@tries(60)
@given(start=st.integers(0, 3000), cut=st.integers(0, 200), paste=st.binary(max_size=30) | st.text(max_size=30))
@example(start=0, cut=10**6, paste="[" * 5000)
@example(start=0, cut=0, paste="? " * 5000)
@example(start=0, cut=10**6, paste="seed: " + "9" * 5000)
@example(start=0, cut=10**6, paste="a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]")
def test_params_of_any_text(tmp_path: Path, start, cut, paste):
    text = (ROOT / "params.yaml").read_bytes()
    paste = paste.encode(errors="surrogatepass") if isinstance(paste, str) else paste
    load(tmp_path, text[:start] + paste + text[start + cut :])


@pytest.fixture(scope="module")
def cartpole() -> Any:
    """The configuration of the shipped task."""
    from pipeline.simulation import configuration

    params = load_params(ROOT / "params.yaml")
    return configuration.configure(params.sim, {}, num_envs=4, seed=1)[0]


def fields_of(cfg: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of all fields of a configuration."""
    fields = cfg if isinstance(cfg, dict) else vars(cfg) if hasattr(cfg, "__dataclass_fields__") else {}
    for name, item in fields.items():
        yield f"{path}{name}"
        yield from fields_of(item, f"{path}{name}.")


@tries(200)
@given(data=st.data())
def test_fields_of_the_task_of_any_values(cartpole: Any, monkeypatch: pytest.MonkeyPatch, data):
    from pipeline.simulation import checks, configuration
    from pipeline.simulation.overrides import override_all

    monkeypatch.chdir(ROOT)
    names = st.sampled_from(list(fields_of(cartpole))) | st.text(max_size=20)
    env = data.draw(st.dictionaries(names, VALUES, min_size=1, max_size=3))
    cfg = copy.deepcopy(cartpole)
    try:
        override_all(cfg, env)
        checks.check_values(cfg, (4, 1, "cpu"))
    except UserError as error:
        assert_one_sentence(error)
    else:
        configuration.describe(cfg)


@tries(300)
@given(text=st.text() | st.lists(VALUES.map(repr)).map("\n".join))
@example(text="[" * 2000)
@example(text='{"stage": "train", "outputs": 1}')
def test_records_of_any_text(text):
    assert all(isinstance(record, dict) for record in read_records(text))


@pytest.fixture(scope="module")
def policy_files() -> dict[str, bytes]:
    """The files of a small policy."""
    from pipeline.policy.policy import Policy
    from pipeline.ppo.ppo import TensorPPO
    from pipeline.ppo.vec_normalize import TensorNormalize
    from tests.toy_env import TensorToy

    agent: dict[str, Any] = {"policy": "MlpPolicy", "n_steps": 8, "batch_size": 16, "policy_kwargs": {"net_arch": [3]}}
    model = TensorPPO(**agent, env=TensorNormalize(TensorToy()), seed=1, device="cpu")  # type: ignore[arg-type]
    return Policy.from_sb3(model, model.env, "Toy", agent).files


@tries(150)
@given(data=st.data())
def test_policies_of_any_values(tmp_path: Path, policy_files: dict[str, bytes], data):
    from pipeline.policy.policy import JSON_FILE, WEIGHTS_FILE

    content = json.loads(policy_files[JSON_FILE])
    for path in data.draw(st.lists(st.sampled_from(list(paths_of(content))), min_size=1, max_size=2)):
        change(content, path, data.draw(VALUES))
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True, indent=2) + "\n"  # keys are text by then
    act(tmp_path, {JSON_FILE: text.encode(), WEIGHTS_FILE: policy_files[WEIGHTS_FILE]})


@tries(150)
@given(data=st.data())
def test_policies_of_any_bytes(tmp_path: Path, policy_files: dict[str, bytes], data):
    name = data.draw(st.sampled_from(list(policy_files)))
    start, cut = data.draw(st.integers(0, len(policy_files[name]))), data.draw(st.integers(0, 50))
    paste = data.draw(st.binary(max_size=30))
    changed = policy_files[name][:start] + paste + policy_files[name][start + cut :]
    act(tmp_path, policy_files | {name: changed})


def act(folder: Path, files: dict[str, bytes]) -> None:
    """Load a policy from these files: it acts, or is refused in one sentence."""
    import torch

    from pipeline.policy.policy import Policy

    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        policy = Policy.load(folder)
    except UserError as error:
        assert_one_sentence(error)
    else:
        observations = torch.zeros(2, policy.observation_space.shape[0])
        assert policy.for_inference("cpu")(observations).isfinite().all()


@tries(150)
@given(
    names=st.lists(
        st.sampled_from(
            ["0", "8", "08", "8.bak", "1e9", "9" * 30, "finished", "x", "SHA256SUMS", "8/SHA256SUMS", "8/a"]
        ),
        unique=True,
    ),
    contents=st.lists(st.binary(max_size=200), min_size=10, max_size=10),
)
def test_stores_of_any_files(tmp_path_factory: pytest.TempPathFactory, names, contents):
    folder = tmp_path_factory.mktemp("repository")
    store = ResumeStore(folder, {}, ("a",))
    for name, content in zip(names, contents, strict=False):
        path = store.folder / name
        with contextlib.suppress(FileExistsError, IsADirectoryError, NotADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if content.startswith(b"\x00") else path.write_bytes(content)
    with store:
        assert store.read(8) == {}
        store.set_aside([])
        store.save(8, {"a": b"1", "b": b"2"})
        assert store.read(8) == {"a": b"1", "b": b"2"}
    forget_recorded(folder)

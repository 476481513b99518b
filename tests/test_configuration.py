"""From the params to the task's configuration, on configurations of a few fields: nothing is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from isaaclab.sim import GroundPlaneCfg
from isaaclab.utils.string import ResolvableString

from pipeline.experiment.errors import UserError
from pipeline.experiment.params_file import load_params
from pipeline.simulation import checks, configuration
from pipeline.simulation.overrides import override, override_all
from tests.conftest import ROOT

pytestmark = pytest.mark.unit


@dataclass
class Part:
    """As Isaac Lab's configurations are: a dataclass whose annotations are text."""

    name: str = "part"
    length: float = 1.0
    count: int = 2
    on: bool = True
    span: tuple[float, float] = (0.0, 1.0)
    sizes: list[int] = field(default_factory=lambda: [1])
    nothing: tuple[str, ...] = ()
    place: tuple[float, float] | None = (0.0, 1.0)
    ranges: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=lambda: ["assets/cartpole.usda"])
    limit: float | None = None
    asset: str = "assets/cartpole.usda"
    function: Callable[[str], str] = str.upper
    reference: Any = field(default_factory=lambda: ResolvableString("isaaclab.assets:AssetBase"))
    terms: dict[str, Any] = field(default_factory=lambda: {"a.b": 1, "a": {"c": 2}})


@dataclass
class Whole:
    part: Part = field(default_factory=Part)
    other: Part | None = field(default_factory=Part)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("name", "x", "x"),
        ("length", 2, 2),
        ("count", 3, 3),
        ("on", False, False),
        ("span", [1.0, 2.0], (1.0, 2.0)),
        ("sizes", [3, 4], [3, 4]),
        ("limit", 0.5, 0.5),
        ("limit", None, None),
        ("asset", "https://somewhere/robot.usd", "https://somewhere/robot.usd"),
        ("sizes", [], []),
        ("nothing", ["x"], ("x",)),
        ("span", [2, 2], (2, 2)),
        ("place", None, None),
        ("ranges", {"x": [0, 1]}, {"x": [0, 1]}),
        ("ranges.x", [0, 1], {"x": [0, 1]}),
        ("function", "numpy:mean", np.mean),
        ("terms.a.b", 5, {"a.b": 5, "a": {"c": 2}}),
        ("terms.a", {"c": 5}, {"a.b": 1, "a": {"c": 5}}),
    ],
)
def test_a_field_takes_a_value_of_its_kind_and_no_other_field_changes(path: str, value: Any, expected: Any):
    cfg = Whole()
    override(cfg, f"part.{path}", value)
    changed = path.split(".")[0]
    assert vars(cfg.part) == vars(Part()) | {changed: expected}
    assert type(vars(cfg.part)[changed]) is type(expected)
    assert cfg.other == Part()


def test_a_mapping_sets_the_fields_below_one_by_one_and_null_switches_a_section_off():
    cfg = Whole()
    override(cfg, "part", {"name": "x", "terms": {"a": {"c": 5}}, "limit": 3.0})
    assert vars(cfg.part) == vars(Part()) | {"name": "x", "terms": {"a.b": 1, "a": {"c": 5}}, "limit": 3.0}
    override(cfg, "other", None)
    assert cfg.other is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", 1),
        ("length", "1.0"),
        ("length", True),
        ("length", None),
        ("length", float("nan")),
        ("count", 2.5),
        ("count", True),
        ("on", 1),
        ("on", None),
        ("span", 1.0),
        ("span", [0.0, float("nan")]),
        ("span", ["a", "a"]),
        ("span", []),
        ("span", [0.0, 1.0, 2.0]),
        ("span", [True, 1.0]),
        ("sizes", ["a"]),
        ("sizes", [{"a": 1}]),
        ("files", [1]),
        ("sizes", "12"),
        ("function", 1),
        ("name.x", 1),
        ("name", {"x": 1}),
    ],
)
def test_a_value_of_another_kind_is_refused_and_changes_nothing(path: str, value: Any):
    cfg = Whole()
    with pytest.raises(UserError, match=rf"^env\.part\.{path} is .*in the task's configuration \(given: "):
        override(cfg, f"part.{path}", value)
    assert cfg == Whole()


def test_bounds_begin_with_the_lower():
    with pytest.raises(UserError, match=r"^env\.part\.span should begin with the lower bound \(given: \[3, -3\]\)"):
        override(Whole(), "part.span", [3, -3])


@pytest.mark.parametrize("path", ["none", "part.nam", "part.terms.x", "part.terms.a.x"])
def test_a_field_that_is_not_there_is_refused(path: str):
    with pytest.raises(UserError, match=rf"^env\.{path}: the task's configuration has no such field; "):
        override(Whole(), path, 1)


def test_a_file_and_a_function_that_dvc_would_not_see_a_change_of_are_refused():
    for path, value in (("asset", "README.md"), ("files", ["assets/cartpole.usda", "README.md"])):
        with pytest.raises(UserError, match=rf"^env\.part\.{path}: DVC would not see a change of README.md"):
            override(Whole(), f"part.{path}", value)
    with pytest.raises(UserError, match=r"^env\.part\.function: DVC would not see a change of os; "):
        override(Whole(), "part.function", "os:system")


def test_a_reference_to_a_class_stays_one():
    cfg = Whole()
    override(cfg, "part.reference", "isaaclab.assets:Articulation")
    assert (type(cfg.part.reference), str(cfg.part.reference)) == (ResolvableString, "isaaclab.assets:Articulation")
    assert cfg.part.reference.__name__ == "Articulation"


@pytest.mark.parametrize(
    "env",
    [
        {"part.length": 2.0, "part": {"length": 3.0}},
        {"part": {"length": 3.0}, "part.length": 2.0},
        {"part": None, "part.length": 2.0},
        {"part.length": 2.0, "part": None},
        {"part.terms.a": {"c": 1}, "part": {"terms": {"a": {"c": 2}}}},
    ],
    ids=str,
)
def test_a_field_that_is_set_twice_is_refused_and_changes_nothing(env: dict[str, Any]):
    cfg = Whole()
    with pytest.raises(UserError, match=r"^env: part[.a-z]* is set twice, and one would win without a word"):
        override_all(cfg, env)
    assert cfg == Whole()


def test_fields_with_similar_names_are_not_the_same_field():
    cfg = Whole()
    override_all(cfg, {"part.length": 2.0, "part": {"limit": 3.0}, "part.terms": {"a.b": 7}, "other": {"length": 4.0}})
    assert (cfg.part.length, cfg.part.limit, cfg.part.terms["a.b"]) == (2.0, 3.0, 7)
    assert cfg.other is not None
    assert cfg.other.length == 4.0


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"dt": 0.0}, "sim.dt"), ({"decimation": -1}, "decimation"), ({"episode_length_s": np.inf}, "episode_length_s")],
)
def test_no_step_and_no_episode_lasts_nothing_or_for_ever(changes: dict[str, float], name: str):
    checks.check_values(task(), (8, 1, "cpu"))
    with pytest.raises(UserError, match=rf"env\.{name} should be a number greater than 0"):
        checks.check_values(task(**changes), (8, 1, "cpu"))


@pytest.mark.parametrize("changes", [{"dt": 1000.0}, {"decimation": 101}, {"episode_length_s": 1e12}], ids=str)
def test_a_step_and_an_episode_have_an_end(changes: dict[str, float]):
    with pytest.raises(UserError, match=r"env: a step should last at most 1\.0 s .*, and an episode 1000000\.0 s"):
        checks.check_values(task(**changes), (8, 1, "cpu"))


@pytest.mark.parametrize("given", [(9, 1, "cpu"), (8, 2, "cpu"), (8, 1, "cuda:0")])
def test_what_follows_from_other_params_is_not_for_env_to_say(given: tuple[int, int, str]):
    with pytest.raises(UserError, match=r"env: scene\.num_envs, seed and sim\.device follow from other params"):
        checks.check_values(task(), given)


@pytest.mark.parametrize("section", ["sim", "scene"])
def test_nothing_runs_without_a_simulation_and_a_scene(section: str):
    cfg = task()
    setattr(cfg, section, None)
    with pytest.raises(UserError, match="env: sim and scene cannot be null"):
        checks.check_values(cfg, (8, 1, "cpu"))


@pytest.mark.parametrize("env", [{"part": {"terms": {0: 1}}}, {"part.limit": [{0: 1}]}], ids=str)
def test_the_name_of_a_field_is_text(env: dict[str, Any]):
    with pytest.raises(UserError, match="env: 0 should be the name of a field, which is text"):
        override_all(Whole(), env)


def test_an_event_that_would_never_happen_is_refused():
    cfg = task()
    cfg.events = SimpleNamespace(push=SimpleNamespace(mode="interval"), none=None)
    checks.check_values(cfg, (8, 1, "cpu"))
    cfg.events.push.mode = "intervall"
    with pytest.raises(UserError, match=r"^env\.events\.push\.mode should be one of prestartup, startup, "):
        checks.check_values(cfg, (8, 1, "cpu"))


def task(*, dt: float = 0.01, decimation: float = 2, episode_length_s: float = 5) -> Any:
    sim, scene = SimpleNamespace(dt=dt, device="cpu"), SimpleNamespace(num_envs=8)
    return SimpleNamespace(
        sim=sim, scene=scene, seed=1, decimation=decimation, episode_length_s=episode_length_s, log_dir=None
    )


def test_a_description_has_plain_values_and_no_place_of_one_machine():
    described = configuration._plain(
        {
            "log_dir": "/home/somebody",
            "a": {"cooked_collider_cache_dir": "/tmp/x", "b": (1, 2.5, None, True)},
            3: slice(None),
            "number": np.float64(0.5),
            "list": [{"log_dir": "x", "c": "d"}],
        }
    )
    assert described == {
        "a": {"b": [1, 2.5, None, True]},
        "3": "slice(None, None, None)",
        "number": "0.5",
        "list": [{"c": "d"}],
    }


def test_the_projects_cartpole_takes_the_place_of_nvidias_and_of_its_ground():
    scene = SimpleNamespace(
        robot=spawned("https://nvidia/Assets/Classic/Cartpole/cartpole.usd"),
        second=spawned("https://nvidia/Assets/Classic/Cartpole/cartpole.usd"),
        table=spawned("https://nvidia/Assets/table.usd"),
        ground=SimpleNamespace(spawn=GroundPlaneCfg()),
        light=SimpleNamespace(spawn=None),
        num_envs=8,
    )
    configuration.use_own_cartpole(scene)
    assert scene.robot.spawn.usd_path == scene.second.spawn.usd_path == "assets/cartpole.usda"
    assert scene.table.spawn.usd_path == "https://nvidia/Assets/table.usd"
    assert scene.ground is None
    assert scene.light is not None


def test_a_task_without_nvidias_cartpole_keeps_its_robot_and_its_ground():
    scene = SimpleNamespace(robot=spawned("/Robots/ant.usd"), ground=SimpleNamespace(spawn=GroundPlaneCfg()))
    configuration.use_own_cartpole(scene)
    assert scene.robot.spawn.usd_path == "/Robots/ant.usd"
    assert scene.ground is not None


def spawned(path: str) -> SimpleNamespace:
    return SimpleNamespace(spawn=SimpleNamespace(usd_path=path))


def test_descriptions_of_observations_and_actions_are_written_into_the_folder_of_the_run():
    cfg = task()
    cfg.export_io_descriptors = False
    configuration.export_io_descriptors(cfg, Path("logs/run"))
    assert (cfg.log_dir, cfg.export_io_descriptors) == ("logs/run", True)
    with pytest.raises(UserError, match=r"^train\.export_io_descriptors: only a manager-based task"):
        configuration.export_io_descriptors(task(), Path("logs/run"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "Isaac-Cartpole-v0"}, "sim.task: .*; did you mean Isaac-Cartpole or Isaac-Cartpole-Direct"),
        ({"task": "Isaac-Cartpol"}, "sim.task: .*; did you mean Isaac-Cartpole"),
        (
            {"agent": "rl_games_cfg_entry_point"},
            "sim.agent: Isaac-Cartpole has no agent .*; did you mean sb3_cfg_entry_point",
        ),
        ({}, None),
    ],
)
def test_a_task_and_an_agent_are_those_that_isaac_lab_registers_for_sb3(changes: dict[str, str], sentence: str | None):
    sim = load_params(ROOT / "params.yaml").sim.model_copy(update=changes)
    if sentence is None:
        configuration.check_task(sim)
    else:
        with pytest.raises(UserError, match=sentence):
            configuration.check_task(sim)


@pytest.mark.parametrize(("given", "meant"), [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")])
def test_a_device_is_meant_by_torchs_name(given: str, meant: str):
    assert configuration.resolve_device(given) == meant

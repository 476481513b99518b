"""Terms of a manager-based task that ``env`` adds, and what it sets in terms and in lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from isaaclab.envs import mdp
from isaaclab.managers import (
    CurriculumTermCfg,
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    SceneEntityCfg,
    TerminationTermCfg,
)
from isaaclab.utils import configclass

from pipeline.experiment.errors import UserError
from pipeline.simulation.overrides import override_all

pytestmark = pytest.mark.unit

MDP = "isaaclab.envs.mdp"


@configclass
class Rewards:
    alive = RewardTermCfg(func=mdp.is_alive, weight=1.0)
    still = RewardTermCfg(func=mdp.joint_vel_l2, weight=-0.5)


@configclass
class Events:
    scatter = EventTermCfg(
        func=mdp.reset_joints_by_scale, mode="reset", params={"position_range": (0.5, 1.5), "velocity_range": [0, 0]}
    )


@configclass
class Terminations:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)


@configclass
class Seen(ObservationGroupCfg):
    joints = ObservationTermCfg(func=mdp.joint_pos_rel)


@configclass
class Observations:
    policy = Seen()


@configclass
class Curriculum:
    pass


@configclass
class Scene:
    num_envs = 2


def task() -> Any:
    """The sections of a task that take terms, and one that takes none."""
    return SimpleNamespace(
        rewards=Rewards(),
        terminations=Terminations(),
        events=Events(),
        observations=Observations(),
        curriculum=Curriculum(),
        scene=Scene(),
    )


def with_env(env: dict[str, Any]) -> Any:
    cfg = task()
    override_all(cfg, env)
    return cfg


@pytest.mark.parametrize(
    ("section", "given", "kind", "expected"),
    [
        ("rewards", {"func": "is_alive", "weight": 2}, RewardTermCfg, {"func": mdp.is_alive, "weight": 2}),
        ("terminations", {"func": "time_out", "time_out": True}, TerminationTermCfg, {"time_out": True}),
        (
            "events",
            {"func": "reset_scene_to_default", "mode": "interval", "interval_range_s": [1.0, 2.0]},
            EventTermCfg,
            {"mode": "interval", "func": mdp.reset_scene_to_default},
        ),
        (
            "curriculum",
            {"func": "modify_reward_weight", "params": {"term_name": "alive", "weight": 0.5, "num_steps": 100}},
            CurriculumTermCfg,
            {"params": {"term_name": "alive", "weight": 0.5, "num_steps": 100}},
        ),
        ("observations.policy", {"func": "joint_vel_rel"}, ObservationTermCfg, {"func": mdp.joint_vel_rel}),
    ],
)
def test_a_term_is_added_beside_those_of_the_task(section: str, given: dict[str, Any], kind: type, expected: dict):
    cfg = with_env({section: {"new": given | {"func": f"{MDP}:{given['func']}"}}})
    here, there = cfg, task()
    for name in section.split("."):
        here, there = getattr(here, name), getattr(there, name)
    new = here.new
    assert type(new) is kind
    assert {name: getattr(new, name) for name in expected} == expected
    assert list(vars(here)) == [*vars(there), "new"], "the managers go through the terms in this order"
    del here.new
    assert vars(cfg).keys() == vars(task()).keys()
    assert repr(here) == repr(there)


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"rewards": {"aliv": {"weight": 2.0}}}, "env.rewards.aliv: .* needs func; did you mean alive"),
        (
            {"rewards.new": {"func": f"{MDP}:is_alive"}},
            "env.rewards.new: .* needs weight; there are alive, still",
        ),
        ({"rewards.stil.weight": 2.0}, "env.rewards.stil.weight: .* no such field; did you mean still"),
        ({"rewards": {"aliv": None}}, "env.rewards.aliv: .* needs func and weight; did you mean alive"),
        ({"rewards": {"aliv": 2.0}}, "env.rewards.aliv: .* needs func and weight; did you mean alive"),
        (
            {"events": {"scater": {"func": f"{MDP}:reset_scene_to_default"}}},
            "needs mode; did you mean scatter",
        ),
        ({"terminations": {"timeout": {"time_out": True}}}, "needs func; did you mean time_out"),
        (
            {"observations": {"policy": {"joint": {}}}},
            "env.observations.policy.joint: .* needs func; did you mean joints",
        ),
        ({"observations": {"critic": {"joints": {"func": f"{MDP}:joint_pos"}}}}, "env.observations.critic: .* no such"),
        ({"scene": {"robot": {"func": f"{MDP}:is_alive"}}}, "env.scene.robot: the task's configuration has no such"),
        (
            {"rewards.new": {"func": "os:getcwd", "weight": 1.0}},
            "env.rewards.new.func: DVC would not see a change of os",
        ),
        ({"rewards.new": {"func": 3, "weight": 1.0}}, r"env.rewards.new.func should be a function, .* \(given: 3\)"),
        (
            {"rewards.new": {"func": None, "weight": 1.0}},
            r"env.rewards.new.func should be a function, .* \(given: None\)",
        ),
        ({"rewards.new": {"func": f"{MDP}:is_alive", "weight": "a"}}, "env.rewards.new.weight is 0.0, of type float"),
        (
            {"rewards.new": {"func": f"{MDP}:is_alive", "weight": 1.0, "wait": 2}},
            "env.rewards.new.wait: .* mean weight",
        ),
    ],
    ids=str,
)
def test_what_is_no_new_term_is_refused_with_the_name_that_is_nearest(env: dict[str, Any], sentence: str):
    with pytest.raises(UserError, match=sentence):
        with_env(env)


def test_a_new_term_sets_the_params_of_its_function_and_leaves_the_others_at_their_defaults():
    given = {"func": f"{MDP}:joint_pos_target_l2", "weight": -1.0, "params": {"target": 0.5}}
    term = with_env(
        {"rewards.new": given | {"params": {"target": 0.5, "asset_cfg": {"joint_names": ["a"]}}}}
    ).rewards.new
    assert term.params["target"] == 0.5
    assert isinstance(term.params["asset_cfg"], SceneEntityCfg)
    assert term.params["asset_cfg"].joint_names == ["a"]
    assert with_env({"rewards.new": given}).rewards.new.params == {"target": 0.5}


def test_a_param_that_a_term_leaves_at_its_default_can_be_set_and_changes_no_other_term():
    cfg = with_env({"rewards.still.params.asset_cfg.joint_names": ["hip"]})
    assert (cfg.rewards.still.params["asset_cfg"].name, cfg.rewards.still.params["asset_cfg"].joint_names) == (
        "robot",
        ["hip"],
    )
    assert (
        with_env({"rewards.still.params.asset_cfg": {"name": "ball"}}).rewards.still.params["asset_cfg"].name == "ball"
    )
    another = with_env({"rewards.still.params.asset_cfg": {"preserve_order": True}}).rewards.still.params["asset_cfg"]
    assert (another.name, another.joint_names) == ("robot", None), "the function's own default stays as it was"
    assert task().rewards.still.params == {}


@pytest.mark.parametrize("env", [{"rewards.still.params.asset": 1}, {"rewards": {"still": {"params": {"asset": 1}}}}])
def test_a_param_that_the_function_does_not_take_is_refused(env: dict[str, Any]):
    with pytest.raises(
        UserError, match=r"^env\.rewards\.still\.params\.asset: joint_vel_l2 takes no .* mean asset_cfg"
    ):
        with_env(env)


def test_params_are_those_of_the_function_that_takes_the_place_of_the_tasks():
    env = {"func": f"{MDP}:joint_pos_target_l2", "params": {"target": 1.0, "asset_cfg": {"name": "robot"}}}
    still = with_env({"rewards.still": env}).rewards.still
    assert (still.func, still.params["target"], still.weight) == (mdp.joint_pos_target_l2, 1.0, -0.5)


def test_a_class_is_a_term_with_the_params_of_its_call():
    given = {"func": f"{MDP}:is_terminated_term", "weight": -2.0, "params": {"term_keys": "fell"}}
    term = with_env({"rewards.new": given}).rewards.new
    assert (term.func, term.params) == (mdp.is_terminated_term, {"term_keys": "fell"})
    with pytest.raises(UserError, match=r"params\.term_key: is_terminated_term takes no .* did you mean term_keys"):
        with_env({"rewards.new": given | {"params": {"term_key": "fell"}}})


@dataclass
class Part:
    span: tuple = (0.5, 1.5)
    sizes: list = field(default_factory=lambda: [1, 2, 3])
    parts: list = field(default_factory=lambda: [{"name": "a", "sizes": (1, 2)}, {"name": "b", "sizes": (3, 4)}])


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"part.span.1": 2.5}, {"span": (0.5, 2.5)}),
        ({"part.span": {"0": 2.0, "1": 3.0}}, {"span": (2.0, 3.0)}),
        ({"part": {"sizes": {"2": 9}}}, {"sizes": [1, 2, 9]}),
        ({"part.sizes": [7]}, {"sizes": [7]}),
        (
            {"part.parts.1.name": "c", "part.parts.0.sizes.1": 5},
            {"parts": [{"name": "a", "sizes": (1, 5)}, {"name": "c", "sizes": (3, 4)}]},
        ),
        (
            {"part.parts": {"1": {"sizes": {"0": 0}}}},
            {"parts": [{"name": "a", "sizes": (1, 2)}, {"name": "b", "sizes": (0, 4)}]},
        ),
    ],
    ids=str,
)
def test_an_item_of_a_list_goes_by_its_number_and_the_others_stay(env: dict[str, Any], expected: dict[str, Any]):
    cfg = SimpleNamespace(part=Part())
    override_all(cfg, env)
    assert vars(cfg.part) == vars(Part()) | expected
    assert all(type(getattr(cfg.part, name)) is type(value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"part.sizes.3": 4}, r"^env\.part\.sizes\.3: the task's configuration has no such field; there are 0, 1, 2"),
        ({"part.sizes.-1": 4}, r"^env\.part\.sizes\.-1: .* no such field"),
        ({"part.sizes.x": 4}, r"^env\.part\.sizes\.x: .* no such field"),
        ({"part.parts.2.name": "c"}, r"^env\.part\.parts\.2\.name: .* no such field; there are 0, 1"),
        ({"part.sizes.0": "a"}, r"^env\.part\.sizes\.0 is 1, of type int in the task's configuration \(given: 'a'\)"),
        ({"part.parts.0": 1}, r"^env\.part\.parts\.0 is a section in the task's configuration \(given: 1\)"),
        ({"part.parts.0.sizes.0.x": 1}, r"^env\.part\.parts\.0\.sizes\.0\.x is 1, of type int"),
        ({"part.span.0": float("nan")}, r"^env\.part\.span\.0 is 0\.5, of type float"),
        ({"part.span.0": 1.0, "part.span": [0.0, 1.0]}, r"^env: part\.span\.0 is set twice"),
        ({"part.span.0": 9.0}, r"^env\.part\.span should begin with the lower bound"),
    ],
    ids=str,
)
def test_an_item_that_is_not_there_or_of_another_kind_is_refused(env: dict[str, Any], sentence: str):
    cfg = SimpleNamespace(part=Part())
    with pytest.raises(UserError, match=sentence):
        override_all(cfg, env)
    assert cfg.part == Part()

"""`make robustness`: policies in physics that they have not seen, and the physics that they are then in."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.conftest import Project
from tests.test_simulation import START
from tools import robustness
from tools.perturbations.bodies import per_environment
from tools.perturbations.factors import DELAY, FACTORS, FORCE, GROUPS, LENGTH, NOISE, NOMINAL, PUSH
from tools.perturbations.perturbed import PerturbedPolicy
from tools.perturbations.playing import summarize, without_engine

TOOL = (sys.executable, "-m", "tools.robustness")
SIZE = 2


def group(name: str, value: float) -> slice:
    """The environments whose factor ``name`` is ``value``."""
    first = GROUPS.index((name, value)) * SIZE
    return slice(first, first + SIZE)


@pytest.mark.unit
def test_each_factor_has_a_few_values_of_its_own_beside_the_nominal_one():
    assert GROUPS[0][0] == NOMINAL
    for name, (neutral, values) in FACTORS.items():
        assert neutral not in values
        assert 1 <= len(set(values)) == len(values) <= 5
        assert list(values) == sorted(values)
        changed = per_environment(name, SIZE, "cpu")
        assert (changed != neutral).sum() == SIZE * len(values), "in no environment of another factor"


@pytest.mark.unit
def test_what_env_sets_of_an_engine_is_left_out_for_the_other():
    both = {"sim.dt": 0.01, "sim.physics_material.static_friction": 0.1, "decimation": 4}
    env = both | {"sim.physics.x": 1, "sim": {"physics": {"y": 1}, "render_interval": 2}}
    assert without_engine(env) == both | {"sim": {"render_interval": 2}}


class Cartpoles:
    """Environments that write down what is set of them, and of which only the starts differ."""

    def __init__(self) -> None:
        self.task = self.scene = self
        self.sim_device, self.step_dt = "cpu", 1.0  # a push in every step
        self.state = torch.arange(2.0 * SIZE * len(GROUPS)).view(-1, 2)
        self.pushed: list[int] = []
        self.data = SimpleNamespace(joint_vel=SimpleNamespace(torch=torch.zeros_like(self.state)))

    def get_state(self, is_relative: bool) -> dict[str, Any]:
        return {"articulation": {"robot": {"joint_position": self.state}}, "rigid_object": {}}

    def reset_to(self, state: dict[str, Any], is_relative: bool) -> None:
        self.state = state["articulation"]["robot"]["joint_position"]

    def write_joint_velocity_to_sim_index(self, velocity: torch.Tensor, env_ids: torch.Tensor) -> None:
        self.pushed = env_ids.tolist()


@pytest.fixture
def acted() -> tuple[Cartpoles, list[torch.Tensor], list[torch.Tensor]]:
    """Cartpoles after five steps, what the policy saw in each, and its actions, which count the steps from 1."""
    env, seen = Cartpoles(), []

    def policy(observations: torch.Tensor) -> torch.Tensor:
        seen.append(observations)
        return torch.full((len(observations), 1), float(len(seen)))

    act = PerturbedPolicy(policy, env, env, size=SIZE, seed=1)  # type: ignore[arg-type]
    actions = [act(env.state) for _ in range(5)]
    return env, seen, actions


@pytest.mark.unit
def test_all_groups_begin_with_the_same_starts(acted: Any):
    env, seen, _ = acted
    assert env.state.view(len(GROUPS), SIZE, 2).eq(torch.tensor([[0.0, 1.0], [2.0, 3.0]])).all()
    assert seen[0][group(FORCE, 0.5)].equal(env.state[:SIZE])


@pytest.mark.unit
def test_actions_are_scaled_and_late_in_their_groups_alone(acted: Any):
    _, _, actions = acted
    columns = torch.cat(actions, 1)
    assert columns[group(NOMINAL, 0.0)].tolist() == [[1, 2, 3, 4, 5]] * SIZE
    assert columns[group(FORCE, 0.5)].tolist() == [[0.5, 1, 1.5, 2, 2.5]] * SIZE
    assert columns[group(DELAY, 2.0)].tolist() == [[0, 0, 1, 2, 3]] * SIZE


@pytest.mark.unit
def test_noise_differs_by_its_size_alone_and_pushes_hit_their_groups_alone(acted: Any):
    env, seen, _ = acted
    noise = [seen[-1][group(NOISE, value)] - env.state[:SIZE] for value in (0.1, 0.2)]
    torch.testing.assert_close(noise[1], 2 * noise[0], rtol=1e-4, atol=1e-5)
    assert noise[0].unique().numel() == 2 * SIZE
    assert env.pushed == torch.arange(len(env.state))[per_environment(PUSH, SIZE, "cpu") > 0].tolist()


@pytest.mark.unit
def test_results_are_sorted_and_written_by_the_digest_with_a_table_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(robustness, "FOLDER", tmp_path)
    rate = summarize([{"success": 1, "return": 4.0}, {"success": 0, "return": 1.0}])
    assert rate == {"episodes": 2, "success_rate": 0.5, "return_mean": 2.5}
    rows = [{"engine": engine, "factor": name, "value": value} | rate for engine in robustness.ENGINES
            for name, value in GROUPS]  # fmt: skip
    params: Any = SimpleNamespace(sim=SimpleNamespace(task="Cart"), evaluate=SimpleNamespace(seed=7))
    files = robustness.write(params, [rows, rows], ["0" * 64, "1" * 64])
    assert [path.name for path in files] == [f"{'0' * 12}.json", f"{'1' * 12}.json"]
    written = json.loads(files[1].read_text())
    assert (written["task"], written["seed"], written["policy_sha256"]) == ("Cart", 7, "1" * 64)
    assert written["results"] == sorted(rows, key=lambda row: (row["engine"], row["factor"], row["value"]))
    robustness.draw({"a": rows, "b": rows}, tmp_path / "success.png")
    assert (tmp_path / "success.png").read_bytes().startswith(b"\x89PNG")
    lines = robustness.table({"a": rows}).splitlines()
    assert lines[1] == "a on physx, 2 episodes: value: success rate (mean return)"
    assert lines[2].split() == ["nominal", ":", "50%", "(", "2.50)"]
    assert len(lines) == 2 * (3 + len(FACTORS))


@pytest.mark.unit
def test_policies_of_one_folder_are_averaged_group_by_group():
    rows = [[{"success_rate": rate, "return_mean": 2 * rate} for rate in rates] for rates in ((1.0, 0.5), (0.0, 0.5))]
    assert robustness.mean(rows) == [{"success_rate": 0.5, "return_mean": 1.0}] * 2


@pytest.mark.unit
@pytest.mark.slow
def test_torch_is_imported_after_the_settings_that_it_reads(fresh_project: Project):
    code = "import sys, tools.robustness, tools.perturbations.playing; print({'torch', 'numpy'} & set(sys.modules))"
    assert fresh_project.run("python", "-c", code).stdout == "set()\n"


@pytest.mark.sim
def test_another_run_gives_the_same_bytes_whatever_was_played_before(project: Project, tmp_path: Path):
    clone = Project(shutil.copytree(project.folder, tmp_path / "clone"))
    clone.edit_params({"evaluate": {"episodes": 2}})
    (clone.folder / "logs" / "robustness").mkdir(parents=True)
    play = (sys.executable, "-m", "tools.perturbations.playing", "physx")
    clone.run(*play, "one.json", "models")
    clone.run(*play, "two.json", "models/checkpoints/512", "models")
    (alone,) = json.loads((clone.folder / "one.json").read_text())["policies"]
    before, after = json.loads((clone.folder / "two.json").read_text())["policies"]
    assert after == alone != before
    assert [(row["factor"], row["value"]) for row in alone] == GROUPS
    assert {row["episodes"] for row in alone} == {2}


SWING = f"""
from pipeline.evaluation.cartpole import POLE, find_cartpole
from tools.perturbations.bodies import bodies, change_bodies
from tools.perturbations.factors import GROUPS
cfg.scene.num_envs = {SIZE} * len(GROUPS)
with launch.running(params.sim, cfg, Path("simulator.log")) as env:
    robot = find_cartpole(env)
    change_bodies(robot, {SIZE})
    changed, joint = bodies(robot), robot.joint_names.index(POLE)
    env.reset_twice()
    at = torch.zeros(env.num_envs, 2)
    at[:, joint] = torch.pi - 0.3  # hangs, and swings
    robot.write_joint_position_to_sim_index(position=at)
    robot.write_joint_velocity_to_sim_index(velocity=torch.zeros_like(at))
    seen = []
    for _ in range(60):
        env.step(torch.zeros(env.num_envs, 1))
        seen.append(robot.data.joint_pos.torch[:, joint] - torch.pi)
    assert changed.equal(bodies(robot))
np.save("seen.npy", torch.stack(seen).numpy())
"""


@pytest.mark.sim
@pytest.mark.parametrize("physics", ["physx", pytest.param("newton_mjwarp", marks=pytest.mark.night)])
def test_the_changed_poles_swing_as_such_poles_do_also_after_resets(fresh_project: Project, physics: str):
    import numpy as np

    fresh_project.edit_params({"sim": {"physics": physics}, "env": {"episode_length_s": 5}})
    fresh_project.run("python", "-c", START + SWING)
    seen = torch.from_numpy(np.load(fresh_project.folder / "seen.npy"))

    def half_swing(name: str, value: float) -> int:
        return int(seen[:, group(name, value)][:, 0].argmax())

    swings = {value: half_swing(LENGTH, value) for value in FACTORS[LENGTH].values}
    nominal = half_swing(NOMINAL, 0.0)
    for value, steps in swings.items():
        assert steps == pytest.approx(nominal * value**0.5, abs=3), "steps grow as the root of the length"
    friction = [seen[:, group("pole friction (N m)", value)][:, 0].max() for value in (0.2, 0.5, 1.0)]
    assert friction == sorted(friction, reverse=True), "and friction takes the swing away"
    heavy, light = (seen[:, group("pole mass (times)", value)][:, 0] for value in (8.0, 0.25))
    assert (heavy - light).abs().max() > 0.05, "for a heavy pole moves its cart"

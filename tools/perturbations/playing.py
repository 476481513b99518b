"""The process of one engine: all groups of environments side by side, one policy after another."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.experiment.errors import UserError
from pipeline.experiment.files import write_json
from pipeline.experiment.params import Params
from pipeline.experiment.paths import LOGS
from pipeline.experiment.stage import process
from tools.perturbations.factors import GROUPS

ENGINES = ("physx", "newton_mjwarp")
FOLDER = Path(LOGS) / "robustness"
MOST_EPISODES, SIDE_BY_SIDE = 100, 20  # of a group: PhysX starts and steps fastest with some hundred environments
Result = dict[str, Any]  # a group's engine, factor, value, success_rate and return_mean


def main() -> None:
    """Play policies on an engine, and write into a file the results of each, or why there are none."""
    physics, target, *folders = sys.argv[1:]
    with process("robustness", "stopped; nothing was written") as params:
        try:
            content = {"policies": play_all(params, physics, [Path(folder) for folder in folders])}
        except UserError as error:
            content = {"refused": str(error)}  # for the parent to say once: the other engine refuses the same
        write_json(Path(target), content)


def play_all(params: Params, physics: str, folders: list[Path]) -> list[list[Result]]:
    """Play the policy of each folder in every group, on the CPU; returns its results, one a group.

    Raises:
        UserError: If the task is no cartpole, or changes by itself what is changed here.
    """
    from pipeline.evaluation.cartpole import find_cartpole
    from pipeline.policy.policy import Policy
    from pipeline.simulation import launch
    from tools.perturbations.bodies import bodies, change_bodies

    # A GPU would make other bits; another front end has not the API that changes the bodies.
    fixed = {"physics": physics, "device": "cpu", "frontend": "torch", "deterministic": True}
    sim = params.sim.model_copy(update=fixed)
    env_params = params.env if physics == params.sim.physics else without_engine(params.env)
    size = min(SIDE_BY_SIDE, params.evaluate.episodes)
    cfg = _configure(sim, env_params, seed=params.evaluate.seed, num_envs=size * len(GROUPS))
    with launch.running(sim, cfg, FOLDER / f"{physics}.log") as env:
        if not (robot := find_cartpole(env)):
            raise UserError(f"sim.task: `make robustness` knows only a cartpole, and {sim.task} is none")
        change_bodies(robot, size)
        changed = bodies(robot)
        results = [_play(env, robot, Policy.load(folder), physics, params, size) for folder in folders]
        if not changed.equal(bodies(robot)):
            raise UserError(
                f"sim.task: the events of {sim.task} set the same masses or frictions; switch these off by "
                "env.events.<name>: null"
            )
    return results


def without_engine(env: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what ``env`` sets of an engine (``sim.physics``), which another one does not have."""
    kept = {path: value for path, value in env.items() if not f"{path}.".startswith("sim.physics.")}
    if isinstance(sim := kept.get("sim"), Mapping):
        kept["sim"] = {path: value for path, value in sim.items() if path.partition(".")[0] != "physics"}
    return kept


def _configure(sim: Any, env: Mapping[str, Any], *, seed: int, num_envs: int) -> Any:
    """Configure the environments without the events that ``env`` adds: they would be one more thing that differs."""
    from pipeline.simulation.configuration import configure

    cfg, _ = configure(sim, env, num_envs=num_envs, seed=seed)
    plain, _ = configure(sim, {}, num_envs=num_envs, seed=seed)
    for name in vars(cfg.events).keys() - vars(plain.events).keys() if cfg.events else ():
        setattr(cfg.events, name, None)
    return cfg


def _play(env: Any, robot: Any, policy: Any, physics: str, params: Params, size: int) -> list[Result]:
    """Play rounds of one episode in each environment."""
    policy.check_matches(params.sim.task, env.observation_space, env.action_space)
    count = math.ceil(min(MOST_EPISODES, params.evaluate.episodes) / size)
    seeds = range(params.evaluate.seed, params.evaluate.seed + count)
    title = f"{physics}, {policy.sha256[:12]}"
    with tqdm(seeds, title, unit="round", position=ENGINES.index(physics), leave=False, disable=False) as bar:
        rows = [row for seed in bar for row in _play_round(env, robot, policy, size, seed)]
    return [
        {"engine": physics, "factor": name, "value": value}
        | summarize([row for row in rows if row["environment"] // size == group])
        for group, (name, value) in enumerate(GROUPS)
    ]


def _play_round(env: Any, robot: Any, policy: Any, size: int, seed: int) -> list[dict[str, Any]]:
    """Play one episode in each environment, whatever was played before it."""
    from pipeline.evaluation.episodes import find_criterion, play_episodes
    from tools.perturbations.perturbed import PerturbedPolicy

    env.seed(seed)
    env.task.common_step_counter = 0  # what a curriculum goes by
    act = PerturbedPolicy(policy.for_inference(env.sim_device), env, robot, size=size, seed=seed)
    return play_episodes(env, act, env.num_envs, find_criterion(policy.task))


def summarize(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Compute the success rate and the mean return of a group's episodes, and count these."""
    return {
        "episodes": len(rows),
        "success_rate": sum(row["success"] for row in rows) / len(rows),
        "return_mean": sum(row["return"] for row in rows) / len(rows),
    }


if __name__ == "__main__":
    main()

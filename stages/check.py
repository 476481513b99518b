"""Refuse what some stage cannot run with, before DVC deletes the outputs of the stage that it runs next.

The other stages depend on what this one writes, so that none of them runs without it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.experiment.errors import UserError
from pipeline.experiment.files import read_text, to_json, write_atomically
from pipeline.experiment.inputs import Inputs
from pipeline.experiment.params import Params
from pipeline.experiment.paths import (
    ASSETS,
    CHECKED,
    CODE,
    LOCK_FILE,
    LOCKED_PACKAGES,
    LOGS,
    PARAMS_FILE,
    STAGES,
    TASKS,
)
from pipeline.experiment.preflight import let_git_see, note_new_files
from pipeline.experiment.stage import process

if TYPE_CHECKING:
    from pipeline.policy.policy import Policy


def main() -> None:
    """Exit with 1 and a sentence if something is wrong with the params, the code or the assets, on this machine."""
    let_git_see(PARAMS_FILE)
    with process("check", "stopped; nothing is changed") as params:
        check_syntax()
        note_new_files(TASKS / params.sim.project)
        initial = check_settings(params)
        inputs = Inputs("check")  # now that train.init_from is known to be a folder here, and not a whole disk
        started = to_json(what_starts(params, inputs))
        if hashlib.md5(started).hexdigest() not in read_text(LOCK_FILE):
            start_simulator(params, initial)
        inputs.check_unchanged()
        write_atomically(CHECKED, started)


def check_syntax() -> None:
    """Refuse code that Python cannot read, in a stage that runs later too."""
    for path in [*CODE.rglob("*.py"), *STAGES.glob("*.py")]:
        try:
            compile(path.read_bytes(), path, "exec")
        except SyntaxError as error:
            raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None


def check_settings(params: Params) -> Policy | None:
    """Let Isaac Lab and SB3 judge what only they know: the task and its fields, layers, a policy to start from.

    Nothing is simulated, but importing them takes three seconds. Returns the policy to start from, if there is one.

    Raises:
        UserError: The first thing that is wrong.
    """
    from pipeline.evaluation.episodes import find_criterion
    from pipeline.simulation import configuration, tracked
    from pipeline.training import agent
    from pipeline.training.initial_policy import initial_policy
    from pipeline.video import camera

    cfg, registered = configuration.configure(params.sim, params.env, num_envs=params.train.num_envs, seed=params.seed)
    tracked.check_assets()
    find_criterion(params.sim.task)
    settings = agent.resolve_settings(
        params.ppo, registered, params.train.num_envs, deterministic=params.sim.deterministic
    )
    initial = initial_policy(params.train.init_from, params.sim.task, settings, params.normalize)
    camera.check(cfg, params.render)
    if params.train.export_io_descriptors:
        configuration.export_io_descriptors(cfg, Path(os.devnull))  # of which nothing is written here
    if params.train.video.interval:
        camera.check_target(params.train.video.camera, "train.video.camera")
    return initial.policy if initial else None


def what_starts(params: Params, inputs: Inputs) -> dict[str, str | None]:
    """Compute the digests of all that decides whether the simulator starts.

    They are what the stage writes. If dvc.lock has them already, the simulator has started with the same before.
    """
    sections = hashlib.sha256(repr((params.sim, params.env)).encode()).hexdigest()
    files = (ASSETS, CODE / "simulation", LOCKED_PACKAGES, TASKS / params.sim.project, params.train.init_from)
    return {"sim, env": sections} | {str(path): inputs.digests[str(path)] for path in files}


def start_simulator(params: Params, initial: Policy | None) -> None:
    """Start the simulator with two environments, for what shows only then: a joint that is not there.

    Raises:
        UserError: If it does not start, fails its trial, or the policy to start from cannot act there.
    """
    from pipeline.evaluation.trial import try_out
    from pipeline.simulation import configuration, launch

    log = Path(os.environ.get("DVC_ROOT", ".")) / LOGS / "check.log"
    cfg, _ = configuration.configure(params.sim, params.env, num_envs=2, seed=params.seed)
    with launch.running(params.sim, cfg, log) as env:
        observations, actions = try_out(env, params.sim.task)
    if initial:
        initial.check_matches(params.sim.task, observations.to_gymnasium(), actions.to_gymnasium())


if __name__ == "__main__":
    main()

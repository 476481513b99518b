"""Refuse params that some stage cannot run with, before DVC deletes the outputs of the stage that it runs next."""

from __future__ import annotations

import sys

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Params
from pipeline.experiment.params_file import load_params
from pipeline.experiment.preflight import check_machine
from pipeline.experiment.stage import prepare_process


def main() -> None:
    """Exit with 1 and a sentence if something is wrong with params.yaml on this machine."""
    try:
        params = load_params()
        check_machine(params.sim)
        prepare_process(params.sim.threads)
        check_settings(params)
    except UserError as error:
        sys.exit(f"check: {error}")


def check_settings(params: Params) -> None:
    """Let Isaac Lab and SB3 judge what only they know: the task and its fields, layers, a policy to start from.

    Nothing is simulated, but importing them takes three seconds.

    Raises:
        UserError: The first thing that is wrong.
    """
    from pipeline.simulation import configuration
    from pipeline.training import agent
    from pipeline.video import camera

    cfg, registered = configuration.configure(params.sim, params.env, num_envs=params.train.num_envs, seed=params.seed)
    settings = agent.resolve_settings(
        params.ppo, registered, params.train.num_envs, deterministic=params.sim.deterministic
    )
    agent.initial_policy(params.train.init_from, params.sim.task, settings, params.normalize)
    camera.check(cfg, params.render)


if __name__ == "__main__":
    main()

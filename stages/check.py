"""Refuse params that some stage cannot run with, before DVC deletes the outputs of the stage that it runs next."""

from __future__ import annotations

import sys

from pipeline.checks import check_all
from pipeline.errors import UserError
from pipeline.params import Params, load_params
from pipeline.stage import prepare_process


def main() -> None:
    """Exit with 1 and a sentence if something is wrong with params.yaml on this machine."""
    try:
        params = load_params()
        check_all(params)
        prepare_process(params.sim)
        check_settings(params)
    except UserError as error:
        sys.exit(f"check: {error}")


def check_settings(params: Params) -> None:
    """Let Isaac Lab and SB3 judge what they alone know: fields of the task, layers, a policy to start from, the camera.

    Nothing is simulated, but importing them takes three seconds.

    Raises:
        UserError: The first thing that is wrong.
    """
    from pipeline import agent, camera, simulation

    cfg, registered = simulation.configure(params, num_envs=params.train.num_envs, seed=params.seed)
    agent.initial_policy(params, agent.resolve_settings(params, registered))
    camera.check(cfg, params.render)


if __name__ == "__main__":
    main()

"""Play with trained policies in a browser: ``make play``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from pipeline.experiment.errors import UserError
from pipeline.experiment.params import Sim
from pipeline.experiment.paths import CHECKPOINTS, LOGS, MODELS
from pipeline.experiment.stage import process


def main() -> None:
    """Serve the page until Ctrl-C; exits with 1 and a sentence for a policy that cannot be played."""
    parser = argparse.ArgumentParser(prog="make play", description=__doc__)
    parser.add_argument("--policy", type=Path, nargs="+", default=[])
    parser.add_argument("--physics", choices=get_args(Sim.model_fields["physics"].annotation), help="for sim.physics")
    parser.add_argument("--num-envs", type=int, default=4)
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    with process("play", "ended") as params:
        if given.num_envs < 1 or not 0 < given.port < 65536:
            raise UserError("--num-envs is at least 1, and --port a number from 1 to 65535")
        if missing := [folder for folder in given.policy if not folder.is_dir()]:
            raise UserError(f"--policy: there is no folder {missing[0]}")
        sim = params.sim.model_copy(update={"physics": given.physics or params.sim.physics})
        play(params.model_copy(update={"sim": sim}), given.policy or [CHECKPOINTS, MODELS], given.num_envs, given.port)


def play(params: Any, folders: list[Path], num_envs: int, port: int) -> None:
    """Start the simulator with the page, and play; returns at no time."""
    from pipeline.simulation import configuration, launch
    from tools.player.page import HOST, look_at_all, server_of, show_on_a_page
    from tools.player.player import Player
    from tools.player.policies import Policies

    policies = Policies(folders, params.sim.task)
    cfg, _ = configuration.configure(params.sim, params.env, num_envs=num_envs, seed=params.evaluate.seed)
    show_on_a_page(cfg, num_envs, params.render.camera, port)
    with launch.running(params.sim, cfg, Path(LOGS) / "play.log") as env:
        server = server_of(env, params.render.camera)
        look_at_all(server, env, params.render.camera)
        print(f"play at http://{HOST}:{server.get_port()} (Ctrl-C ends it)", flush=True)
        Player(env, policies, server).run()


if __name__ == "__main__":
    main()

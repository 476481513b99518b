"""Write the render stage's episodes as a page in 3D, to turn around and scrub through offline: ``make replay``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.experiment.files import write_atomically
from pipeline.experiment.params import Params
from pipeline.experiment.paths import LOGS, MODELS
from pipeline.experiment.stage import process

MARK = "<!-- policy {} -->"  # by which a report knows whose page it is


def main() -> None:
    """Write the page, and say where it is."""
    parser = argparse.ArgumentParser(prog="make replay", description=__doc__)
    parser.add_argument("--policy", type=Path, default=MODELS)
    parser.add_argument("--to", type=Path, default=Path(LOGS) / "replay.html")
    given = parser.parse_args()
    with process("replay", "stopped; nothing was written") as params:
        page = record(params, given.policy)
    write_atomically(given.to, page.encode())
    print(f"written: {given.to} ({given.to.stat().st_size / 1e6:.1f} MB)")


def record(params: Params, folder: Path) -> str:
    """Play the episodes of the params' section ``render``; returns the page."""
    from pipeline.policy.policy import Policy
    from pipeline.simulation import configuration, launch
    from pipeline.video.camera import play
    from tools.player.page import server_of, show_on_a_page

    render, policy = params.render, Policy.load(folder)
    cfg, _ = configuration.configure(params.sim, params.env, num_envs=render.num_envs, seed=render.seed)
    show_on_a_page(cfg, render.num_envs, render.camera)
    with launch.running(params.sim, cfg, Path(LOGS) / "replay.log") as env:
        policy.check_matches(params.sim.task, env.observation_space, env.action_space)
        act, server = policy.for_inference(env.sim_device), server_of(env, render.camera)
        server.get_clients = lambda: {0: None}  # nobody looks on, and Isaac Lab would send nothing
        serializer: Any = server.get_scene_serializer()
        for _ in play(env, act, render):
            serializer.insert_sleep(env.unwrapped.step_dt)
        return f"{serializer.as_html()}\n{MARK.format(policy.sha256)}\n"


if __name__ == "__main__":
    main()

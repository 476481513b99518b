"""Record a video of the trained policy, headless and without a GPU if need be."""

from __future__ import annotations

from pipeline.params import Params
from pipeline.provenance import Run
from pipeline.stage import MODELS, VIDEOS, run_stage


def render(params: Params, run: Run) -> None:
    """Play episodes in front of a camera; write ``videos/cartpole.mp4``, its GIF and a film strip."""
    import numpy as np

    from pipeline import camera, simulation, video
    from pipeline.policy import Policy

    policy = Policy.load(MODELS)
    settings = params.render
    cfg, _ = simulation.configure(params, num_envs=settings.num_envs, seed=settings.seed)
    camera.check(cfg, settings)
    camera.add_camera(cfg, settings.camera, width=settings.width, height=settings.height, samples=camera.SAMPLES)
    run.note(device=cfg.sim.device, physics=type(cfg.sim.physics).__name__)
    with simulation.running(params, cfg, run.folder / "simulator.log") as env:
        policy.check_matches(params.sim.task, env.observation_space, env.action_space)
        run.end_phase("start")
        frames = np.stack(list(camera.record(env, policy.actor(cfg.sim.device), settings)))
    run.end_phase("play")
    video.check_frames(frames)
    video.write_mp4(VIDEOS / "cartpole.mp4", frames, settings.fps)
    video.write_gif(VIDEOS / "cartpole.gif", frames, settings.fps)
    video.write_film_strip(VIDEOS / "film_strip.png", frames)


if __name__ == "__main__":
    run_stage(render)

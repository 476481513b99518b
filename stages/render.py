"""Record a video of the trained policy, headless and without a GPU if need be."""

from __future__ import annotations

from pipeline.experiment.params import Params
from pipeline.experiment.paths import FILM_STRIP, GIF, MODELS, TRAIN_METRICS, VIDEO
from pipeline.experiment.provenance import Run
from pipeline.experiment.stage import run_stage


def render(params: Params, run: Run) -> None:
    """Play episodes in front of a camera; write ``videos/policy.mp4``, ``policy.gif`` and ``film_strip.png``."""
    import numpy as np

    from pipeline.policy.policy import Policy
    from pipeline.simulation import configuration, launch
    from pipeline.video import camera, encode

    policy = Policy.load_trained(MODELS, TRAIN_METRICS)
    settings = params.render
    cfg, _ = configuration.configure(params.sim, params.env, num_envs=settings.num_envs, seed=settings.seed)
    camera.check(cfg, settings)
    camera.add_camera(cfg, settings.camera, width=settings.width, height=settings.height, samples=camera.SAMPLES)
    run.note(device=cfg.sim.device, physics=type(cfg.sim.physics).__name__)
    with launch.running(params.sim, cfg, run.folder / "simulator.log") as env:
        policy.check_matches(params.sim.task, env.observation_space, env.action_space)
        run.end_phase("start")
        frames = np.stack(list(camera.record(env, policy.for_inference(cfg.sim.device), settings)))
    run.end_phase("play")
    encode.check_frames(frames)
    encode.write_mp4(VIDEO, frames, settings.fps)
    encode.write_gif(GIF, frames, settings.fps)
    encode.write_film_strip(FILM_STRIP, frames)


if __name__ == "__main__":
    run_stage(render)

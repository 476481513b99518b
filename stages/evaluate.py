"""Evaluate the trained policy on starts that training never saw, as ``play.py`` of the SB3 workflow plays it."""

from __future__ import annotations

from pipeline.experiment.params import Params
from pipeline.experiment.paths import METRICS, MODELS
from pipeline.experiment.provenance import Run
from pipeline.experiment.stage import run_stage


def evaluate(params: Params, run: Run) -> None:
    """Play full episodes with deterministic actions; write ``metrics/evaluate.json`` and ``metrics/episodes.csv``."""
    from pipeline.evaluation.episodes import play_episodes
    from pipeline.evaluation.statistics import summarize
    from pipeline.experiment.metrics import write_metrics, write_rows
    from pipeline.policy.policy import Policy
    from pipeline.simulation import configuration, launch

    policy = Policy.load(MODELS)
    settings = params.evaluate
    num_envs = min(settings.num_envs, settings.episodes)
    cfg, _ = configuration.configure(params.sim, params.env, num_envs=num_envs, seed=settings.seed)
    run.note(device=cfg.sim.device, physics=type(cfg.sim.physics).__name__)
    with launch.running(params.sim, cfg, run.folder / "simulator.log") as env:
        policy.check_matches(params.sim.task, env.observation_space, env.action_space)
        run.end_phase("start")
        episodes = play_episodes(env, policy.for_inference(cfg.sim.device), settings.episodes)
    run.end_phase("play")
    metrics = summarize(episodes, seed=settings.seed)
    write_rows(METRICS / "episodes.csv", episodes)
    write_metrics(METRICS / "evaluate.json", {**metrics, "policy_sha256": policy.sha256})


if __name__ == "__main__":
    run_stage(evaluate)

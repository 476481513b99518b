"""Evaluate the trained policy on starts that training never saw, as ``play.py`` of the SB3 workflow plays it."""

from __future__ import annotations

from pipeline.params import Params
from pipeline.provenance import Run
from pipeline.stage import METRICS, MODELS, run_stage


def evaluate(params: Params, run: Run) -> None:
    """Play whole episodes with deterministic actions; write ``metrics/evaluate.json`` and ``metrics/episodes.csv``."""
    from pipeline import simulation
    from pipeline.evaluation import play_episodes, summarize
    from pipeline.metrics import write_metrics, write_rows
    from pipeline.policy import Policy
    from pipeline.store import forget_recorded

    forget_recorded(run.root)
    policy = Policy.load(MODELS)
    settings = params.evaluate
    cfg, _ = simulation.configure(params, num_envs=min(settings.num_envs, settings.episodes), seed=settings.seed)
    run.note(device=cfg.sim.device, physics=type(cfg.sim.physics).__name__)
    with simulation.running(params, cfg, run.folder / "simulator.log") as env:
        policy.check_matches(params.sim.task, env.observation_space, env.action_space)
        run.end_phase("start")
        episodes = play_episodes(env, policy.actor(cfg.sim.device), settings.episodes)
    run.end_phase("play")
    write_rows(METRICS / "episodes.csv", episodes)
    write_metrics(
        METRICS / "evaluate.json", {**summarize(episodes, seed=settings.seed), "policy_sha256": policy.sha256}
    )


if __name__ == "__main__":
    run_stage(evaluate)

"""Evaluate the trained policy on starts that training never saw, as ``play.py`` of the SB3 workflow plays it."""

from __future__ import annotations

from pipeline.experiment.params import Params
from pipeline.experiment.paths import EPISODES, EVALUATION, MODELS, TRAIN_METRICS
from pipeline.experiment.provenance import Run
from pipeline.experiment.stage import run_stage


def evaluate(params: Params, run: Run) -> None:
    """Play full episodes with deterministic actions; write ``metrics/evaluate.json`` and ``metrics/episodes.csv``."""
    from pipeline.evaluation.evaluate import configure, evaluate_policy
    from pipeline.experiment.metrics import write_metrics, write_rows
    from pipeline.policy.policy import Policy
    from pipeline.simulation import launch

    policy = Policy.load_trained(MODELS, TRAIN_METRICS)
    cfg = configure(params.sim, params.env, params.evaluate)
    run.note(device=cfg.sim.device, physics=type(cfg.sim.physics).__name__)
    with launch.running(params.sim, cfg, run.folder / "simulator.log") as env:
        policy.check_matches(params.sim.task, env.observation_space, env.action_space)
        run.end_phase("start")
        episodes, metrics = evaluate_policy(env, policy, params.evaluate)
    run.end_phase("play")
    write_rows(EPISODES, episodes)
    write_metrics(EVALUATION, metrics)


if __name__ == "__main__":
    run_stage(evaluate)

"""Train PPO on the task, as Isaac Lab's ``train.py`` of the SB3 workflow does, and write the trained unit."""

from __future__ import annotations

from pipeline.params import Params
from pipeline.provenance import Run
from pipeline.stage import METRICS, MODELS, run_stage


def train(params: Params, run: Run) -> None:
    """Train as ``params`` say; write ``models/``, ``metrics/train.json`` and ``metrics/learning_curve.csv``."""
    from pipeline import agent, camera, simulation
    from pipeline.clips import film_training
    from pipeline.policy import FILES, WEIGHTS_FILE
    from pipeline.resume import load_policy
    from pipeline.store import Store, forget_recorded
    from pipeline.training import learn, write_configurations, write_results
    from pipeline.workarounds import keep_torchs_compiler_away

    keep_torchs_compiler_away()
    cfg, registered = simulation.configure(params, num_envs=params.train.num_envs, seed=params.seed)
    settings = agent.resolve_settings(params, registered)
    initial = agent.initial_policy(params, settings)
    camera.check(cfg, params.render)  # now, and not after hours of training
    write_configurations(MODELS, params, cfg, settings)
    if params.train.export_io_descriptors:
        simulation.export_io_descriptors(cfg, run.folder)
    if params.train.video.interval:
        film_training(cfg, params.render.camera)
    run.note(device=cfg.sim.device, physics=type(cfg.sim.physics).__name__)
    forget_recorded(run.root)
    with Store(run.root, run.identity, FILES) as store:
        with simulation.running(params, cfg, run.folder / "simulator.log") as env:
            normalized = agent.normalized(env, params, settings["gamma"])
            model = agent.build_ppo(settings, normalized, seed=params.seed, device=cfg.sim.device)
            if initial:
                load_policy(model, initial)
            run.end_phase("start")
            curve = learn(model, env, params, settings, run, MODELS / "checkpoints", store)
        run.end_phase("learn")
        write_results(MODELS, METRICS, model, params, settings, curve)
        store.finish(MODELS / WEIGHTS_FILE)


if __name__ == "__main__":
    run_stage(train)

"""Train PPO on the task, as Isaac Lab's ``train.py`` of the SB3 workflow does, and write the trained policy."""

from __future__ import annotations

from pipeline.experiment.params import Params
from pipeline.experiment.paths import LEARNING_CURVE, MODELS, TRAIN_METRICS
from pipeline.experiment.provenance import Run
from pipeline.experiment.stage import run_stage


def train(params: Params, run: Run) -> None:
    """Train as ``params`` say; write ``models/``, ``metrics/train.json`` and ``metrics/learning_curve.csv``."""
    from pipeline.experiment.files import write_atomically, write_yaml
    from pipeline.experiment.metrics import write_metrics, write_rows
    from pipeline.experiment.resume_store import ResumeStore
    from pipeline.policy.export_onnx import export_onnx
    from pipeline.policy.export_sb3 import export_sb3
    from pipeline.policy.policy import FILES, WEIGHTS_FILE, Policy
    from pipeline.ppo.workarounds import keep_torchs_compiler_away
    from pipeline.simulation import configuration, launch
    from pipeline.simulation.signals import describe_signals
    from pipeline.training import agent
    from pipeline.training.clips import film_training
    from pipeline.training.initial_policy import initial_policy
    from pipeline.training.learn import learn
    from pipeline.training.optimizer_state import OPTIMIZER_FILE, encode_optimizer

    def policy() -> Policy:
        return Policy.from_sb3(model, model.env, params.sim.task, settings, signals)

    keep_torchs_compiler_away()
    cfg, registered = configuration.configure(params.sim, params.env, num_envs=params.train.num_envs, seed=params.seed)
    settings = agent.resolve_settings(
        params.ppo, registered, params.train.num_envs, deterministic=params.sim.deterministic
    )
    initial = initial_policy(params.train.init_from, params.sim.task, settings, params.normalize)
    write_yaml(MODELS / "env.yaml", configuration.describe(cfg))
    timesteps = agent.total_timesteps(params.train, settings["n_steps"])
    described = agent.describe(settings, params.normalize, seed=params.seed, device=cfg.sim.device, timesteps=timesteps)
    write_yaml(MODELS / "agent.yaml", described)
    if params.train.export_io_descriptors:
        configuration.export_io_descriptors(cfg, run.folder)
    if params.train.video.interval:
        film_training(cfg, params.train.video.camera)
    run.note(device=cfg.sim.device, physics=type(cfg.sim.physics).__name__)
    with ResumeStore(run.root, run.identity, FILES) as store:
        with launch.running(params.sim, cfg, run.folder / "simulator.log") as env:
            signals = describe_signals(env)
            model = agent.build_ppo(settings, env, params.normalize, seed=params.seed, initial=initial)
            run.end_phase("start")
            curve = learn(
                model,
                policy,
                params.train,
                timesteps,
                until=params.normalize.until,
                hyperparameters=params.model_dump(mode="json", exclude={"evaluate", "render"}) | {"ppo": settings},
                run=run,
                store=store,
            )
        run.end_phase("learn")
        trained = policy()
        export_sb3(MODELS, model, trained)
        export_onnx(MODELS / "policy.onnx", trained)
        trained.save(MODELS)
        write_atomically(MODELS / OPTIMIZER_FILE, encode_optimizer(model.policy.optimizer))
        write_rows(LEARNING_CURVE, curve.rows)
        write_metrics(TRAIN_METRICS, {**curve.summary(), "policy_sha256": trained.sha256})
        store.finish(MODELS / WEIGHTS_FILE)


if __name__ == "__main__":
    run_stage(train)

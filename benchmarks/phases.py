"""Where the train stage's time goes, on the shipped params but for what the command line says (`ppo.n_epochs=5`)."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.processes import Machine, parse, stage
from benchmarks.results import save
from pipeline.experiment.params import Params
from pipeline.experiment.provenance import Run
from pipeline.experiment.stage import run_stage


class Stopwatch:
    """Seconds spent in each of some methods, less those that they spend in each other."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def watch(self, owner: type, method: str, name: str) -> None:
        """Count the time of ``owner.method`` under ``name``."""
        function = getattr(owner, method)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = self._now()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = self._now() - started
                self.seconds[name] += took - self._inner.pop()
                self._inner[-1] += took

        setattr(owner, method, timed)

    def _now(self) -> float:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


def train(params: Params, run: Run) -> None:
    """Run the stage, and watch it."""
    from pipeline.ppo.ppo import TensorPPO
    from pipeline.ppo.vec_normalize import TensorNormalize
    from pipeline.simulation import configuration
    from pipeline.simulation.tensor_env import TensorEnv
    from stages import train as stage

    stopwatch = Stopwatch()
    stopwatch.watch(TensorEnv, "step_wait", "simulation")
    stopwatch.watch(TensorNormalize, "step_wait", "normalisation")
    stopwatch.watch(TensorPPO, "collect_rollouts", "policy, rollout, logs")
    stopwatch.watch(TensorPPO, "train", "update")
    stopwatch.watch(TensorPPO, "learn", "the rest of learn")
    stage.train(params, run)
    device = configuration.resolve_device(params.sim.device)
    phases = {name: of["wall_seconds"] for name, of in run.record["phases"].items()}
    rows = [{"phase": name, "seconds": round(seconds, 2)} for name, seconds in {**stopwatch.seconds, **phases}.items()]
    for row in rows:
        print(f"{row['phase']:<24} {row['seconds']:>8.2f} s")
    save(f"phases-{'cpu' if device == 'cpu' else 'gpu'}", Machine(device, params.sim.physics), rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder), parse(sys.argv[1:]))
        os.chdir(folder)
        run_stage(train)

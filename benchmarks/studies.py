"""How long a study takes, and how long the same runs take in DVC's own queue. Each has a fresh clone."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dvc.utils.hydra import apply_overrides

from benchmarks.processes import ROOT, Machine
from benchmarks.results import save
from pipeline.experiment.params_file import load_params

DVC = (sys.executable, "-m", "dvc")


def main() -> None:
    """Print and save the seconds of both, with the runs an hour."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--at-a-time", type=int, default=2)
    parser.add_argument("--timesteps", type=int, default=load_params().train.total_timesteps)
    given = parser.parse_args()
    rows = []
    for name, run in {"study": run_study, "queue": run_queue}.items():
        seconds = _seconds(run, given.runs, given.at_a_time, given.timesteps)
        speed = {"seconds": round(seconds, 1), "an_hour": round(3600 * given.runs / seconds)}
        rows.append({"by": name, **vars(given), **speed})
        print(rows[-1], flush=True)
    sim = load_params().sim
    save("studies-cpu", Machine(sim.device, sim.physics), rows)


def run_study(folder: Path, seeds: range, at_a_time: int) -> None:
    """Run a study of one trial with these seeds."""
    study = {"params": {"ppo.vf_coef": [0.5]}, "sampler": "grid", "seeds": [*seeds], "direction": "maximize"}
    (folder / "study.yaml").write_text(json.dumps(study | {"metric": "return_mean"}))
    _call(folder, sys.executable, "-m", "tools.study", "study.yaml", "--slots", str(at_a_time))


def run_queue(folder: Path, seeds: range, at_a_time: int) -> None:
    """Queue an experiment for each of these seeds, and run the queue."""
    _call(folder, *DVC, "exp", "run", "--queue", "-S", f"seed=range({seeds.start},{seeds.stop})", "evaluate")
    _call(folder, *DVC, "exp", "run", "--run-all", "--jobs", str(at_a_time))


def _seconds(run: Callable[[Path, range, int], None], runs: int, at_a_time: int, timesteps: int) -> float:
    """Time ``run`` in a fresh clone, and see that it leaves all experiments."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clone"
        _call(ROOT, "git", "clone", "--quiet", str(ROOT), str(folder))
        apply_overrides(folder / "params.yaml", [f"train.total_timesteps={timesteps}"])
        _call(folder, "git", "commit", "--quiet", "--all", "--allow-empty", "--message", "For the benchmark")
        start = time.monotonic()
        run(folder, range(1, runs + 1), at_a_time)
        seconds = time.monotonic() - start
        refs = subprocess.run(
            ["git", "for-each-ref", "refs/exps/*/*/*"], cwd=folder, stdout=subprocess.PIPE, check=True
        )
        assert len(refs.stdout.splitlines()) == runs, "not all experiments are there"
    return seconds


def _call(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

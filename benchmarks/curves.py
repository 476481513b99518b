"""Learning curves over seeds, ours and stock SB3's at the same settings, how fast, and how the final policies do."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.plots import plot_curves
from benchmarks.processes import Machine, isaaclab, logged, run, stage
from benchmarks.results import RESULTS, save
from benchmarks.solved import judge
from pipeline.experiment.params_file import load_params

MACHINE = Machine("cpu", "physx")
RETURN = "rollout/ep_rew_mean"
AS_SHIPPED, SAME, STOCK = "ours, as shipped", "ours, statistics and checkpoints as SB3", "stock SB3"

# Statistics that go on, and no fresh starts at checkpoints. What differs still: ours begins at random steps of the
# episodes, and a time-out is worth its own last observation, where Isaac Lab takes the first after the reset.
WITHOUT = {"normalize.until": None, "train.checkpoint_every": None}


def main() -> None:
    """Train with each seed in turn, by each trainer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    rows = []
    for seed in parser.parse_args().seeds:
        for name in (AS_SHIPPED, SAME, STOCK):
            rows.append({"trainer": name, "seed": seed} | train(name, seed))
            print({key: value for key, value in rows[-1].items() if key != "curve"}, flush=True)
            save("curves-cpu", MACHINE, rows)
    plot_curves(rows, RESULTS / "curves-cpu.png")


def train(name: str, seed: int) -> dict[str, Any]:
    """Train once; the curve of the training's returns, and the held-out evaluation of the final policy."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        own = {"seed": seed} | (WITHOUT if name == SAME else {})
        run(stock(seed) if name == STOCK else stage(folder, own), folder)
        points = logged(folder, RETURN)
        (final,) = [*folder.rglob("model.zip")]
        (verdict,) = judge(MACHINE, [final])
    (first, started, _), (last, ended, _) = points[0], points[-1]
    return {
        "return_mean": round(verdict["return_mean"], 3),
        "success_rate": verdict["success_rate"],
        "steps_per_second": round((last - first) / (ended - started)),
        "curve": [(step, round(value, 3)) for step, _, value in points],
    }


def stock(seed: int) -> list[str]:
    """Isaac Lab's own command line with this project's settings."""
    params = load_params()
    settings = params.ppo.model_dump(exclude_none=True)
    network = settings.pop("policy_kwargs")
    settings |= {f"policy_kwargs.{key}": value for key, value in network.items()}
    settings |= {"n_timesteps": params.train.total_timesteps, "device": MACHINE.device}
    settings |= {"normalize_input": True, "normalize_value": True, "clip_obs": params.normalize.clip_observations}
    words = [f"++agent.{key}={value}".replace(" ", "") for key, value in settings.items()]
    flags = f"--seed={seed}", f"--num_envs={params.train.num_envs}", f"--log_interval={params.train.log_interval}"
    return isaaclab(MACHINE, "sb3", *flags, *words)


if __name__ == "__main__":
    main()

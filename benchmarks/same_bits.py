"""What the same bits on every processor cost: the stages with and without `pipeline.experiment.numerics`, in turn."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import Machine, run, stage
from benchmarks.results import save
from pipeline.experiment.params_file import load_params

STAGES = ("train", "evaluate", "render")
# As many epochs for both: where the bits differ, so does the epoch in which target_kl ends an update.
SAME_WORK = {"ppo.target_kl": None, "ppo.n_epochs": 10}
WITHOUT = (
    "from pipeline.experiment import numerics, stage; stage.pin_numerics = numerics.set_threads;"
    "from stages import {0}; stage.run_stage({0}.{0})"
)


def main() -> None:
    """Print and save the seconds of each stage in each pair, and the medians of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    rows = []
    for pair in range(parser.parse_args().pairs):
        for settings in ("with", "without") if pair % 2 else ("without", "with"):
            rows.append({"pair": pair, "settings": settings, **seconds(settings)})
            print(rows[-1], flush=True)
    sim = load_params().sim
    save("same-bits-cpu", Machine(sim.device, sim.physics), rows)
    for name in ("train", "all"):
        pairs = [[row[name] for row in rows if row["settings"] == settings] for settings in ("with", "without")]
        ratios = sorted(on / off for on, off in zip(*pairs, strict=True))
        print(f"{name}: {statistics.median(ratios):.3f} in the median, {ratios[0]:.3f} to {ratios[-1]:.3f}")


def seconds(settings: str) -> dict[str, float]:
    """Run the pipeline once; the seconds of each stage's process, and of all."""
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder), SAME_WORK)
        commands = {
            name: ["-m", f"stages.{name}"] if settings == "with" else ["-c", WITHOUT.format(name)] for name in STAGES
        }
        took = {name: run([sys.executable, *command], Path(folder)).seconds for name, command in commands.items()}
    return {name: round(value, 2) for name, value in {**took, "all": sum(took.values())}.items()}


if __name__ == "__main__":
    main()

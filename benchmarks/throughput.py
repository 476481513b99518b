"""Training steps a second, ours and the peers', in turn: a table, ``results/<name>.json`` and a plot of it."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.plots import plot_throughput
from benchmarks.processes import ROOT, Machine
from benchmarks.results import RESULTS, save
from benchmarks.trainers import WARM_UP, Trainer, measure, ours, upstream

# Epochs and mini-batches of an update: Isaac Lab's for SB3 and for rsl_rl, and this project's on a CPU.
SB3, RSL_RL, OURS = (20, 16), (5, 4), (10, 4)


@dataclass(frozen=True)
class Comparison:
    """What is compared where.

    Args:
        machine: Where.
        frontends: Of the simulation alone.
        trainers: Who.
    """

    machine: Machine
    frontends: list[str]
    trainers: list[Trainer]


COMPARISONS = {
    "cpu": Comparison(
        Machine("cpu", "physx"),
        ["torch"],
        [upstream("sb3", *OURS), upstream("rsl_rl", *OURS), upstream("skrl", *OURS), ours(*OURS)],
    ),
    "gpu": Comparison(
        Machine("cuda:0", "newton_mjwarp"),
        ["torch", "warp"],
        [
            upstream("sb3", *SB3),
            ours(*SB3, frontend="warp"),
            upstream("rsl_rl", *RSL_RL),
            upstream("rsl_rl", *RSL_RL, frontend="warp"),
            upstream("skrl", *RSL_RL),
            ours(*RSL_RL),
            ours(*RSL_RL, frontend="warp"),
        ],
    ),
    "gpu-physx": Comparison(Machine("cuda:0", "ovphysx"), ["torch"], [upstream("rsl_rl", *RSL_RL), ours(*RSL_RL)]),
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comparison", choices=COMPARISONS, help="on the CPU with PhysX, on a GPU with Newton or PhysX")
    parser.add_argument("--num-envs", type=int, nargs="+", required=True)
    parser.add_argument("--rollouts", type=int, default=24, help="of each run")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each trainer, in turn; medians are reported")
    arguments = parser.parse_args()
    comparison = COMPARISONS[arguments.comparison]
    rows: list[dict[str, Any]] = []
    for num_envs in arguments.num_envs:
        for frontend in comparison.frontends:
            rows.append(_simulation(comparison.machine, frontend, num_envs, arguments.repeats))
        rows += _compare(comparison, num_envs, arguments.rollouts, arguments.repeats)
        name = f"throughput-{arguments.comparison}"
        save(name, comparison.machine, rows)
        plot_throughput(rows, RESULTS / f"{name}.png")


def _simulation(machine: Machine, frontend: str, num_envs: int, repeats: int) -> dict[str, Any]:
    """The limit: the environments without a trainer."""
    command = [sys.executable, "-m", "benchmarks.simulation", frontend, machine.physics, machine.device, str(num_envs)]
    speeds = []
    for _ in range(repeats):
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        speeds.append(float(output.splitlines()[-1]))
    return _row(f"simulation alone, {frontend}", num_envs, {"steps_per_second": statistics.median(speeds)})


def _compare(comparison: Comparison, num_envs: int, rollouts: int, repeats: int) -> list[dict[str, Any]]:
    measured: dict[str, list[dict[str, float]]] = {trainer.name: [] for trainer in comparison.trainers}
    for _ in range(repeats):
        for trainer in comparison.trainers:
            measurement = measure(trainer, comparison.machine, num_envs, WARM_UP + rollouts)
            measured[trainer.name].append(asdict(measurement))
    return [
        _row(name, num_envs, {key: statistics.median(run[key] for run in runs) for key in runs[0]})
        for name, runs in measured.items()
    ]


def _row(name: str, num_envs: int, values: dict[str, float]) -> dict[str, Any]:
    row = {"trainer": name, "num_envs": num_envs} | {key: round(value, 1) for key, value in values.items()}
    print(f"{name:<28} {num_envs:>6} environments {values['steps_per_second']:>12,.0f} steps/s", flush=True)
    return row


if __name__ == "__main__":
    main()

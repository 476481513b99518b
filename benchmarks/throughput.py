"""Training steps a second, ours and the peers', in turn: a table, ``results/<name>.json`` and a plot of it."""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
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
    """Measure what the command line asks for; what there is so far is saved after every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comparison", choices=COMPARISONS, help="on the CPU with PhysX, on a GPU with Newton or PhysX")
    parser.add_argument("--num-envs", type=int, nargs="+", required=True)
    parser.add_argument("--rollouts", type=int, default=24, help="of each run")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each trainer, in turn; medians are reported")
    arguments = parser.parse_args()
    comparison, name = COMPARISONS[arguments.comparison], f"throughput-{arguments.comparison}"
    runs: defaultdict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    for num_envs, _ in itertools.product(arguments.num_envs, range(arguments.repeats)):
        for trainer, measured in _in_turn(comparison, num_envs, arguments.rollouts):
            runs[trainer, num_envs].append(measured)
            speed = measured["steps_per_second"]
            print(f"{trainer:<28} {num_envs:>6} environments {speed:>12,.0f} steps/s", flush=True)
            save(name, comparison.machine, [_row(*key, of) for key, of in runs.items()])
    plot_throughput([_row(*key, of) for key, of in runs.items()], RESULTS / f"{name}.png")


def _in_turn(comparison: Comparison, num_envs: int, rollouts: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Run the simulation alone, which is the limit, and every trainer, once."""
    for frontend in comparison.frontends:
        yield f"simulation alone, {frontend}", {"steps_per_second": _simulate(comparison.machine, frontend, num_envs)}
    for trainer in comparison.trainers:
        yield trainer.name, asdict(measure(trainer, comparison.machine, num_envs, WARM_UP + rollouts))


def _simulate(machine: Machine, frontend: str, num_envs: int) -> float:
    command = [sys.executable, "-m", "benchmarks.simulation", frontend, machine.physics, machine.device, str(num_envs)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return float(output.splitlines()[-1])


def _row(trainer: str, num_envs: int, runs: list[dict[str, float]]) -> dict[str, Any]:
    medians = {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
    return {"trainer": trainer, "num_envs": num_envs} | medians


if __name__ == "__main__":
    main()

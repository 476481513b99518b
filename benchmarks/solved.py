"""Seconds from the start of the process to a policy that solves the task, ours and the peers', in turn."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, Machine, isaaclab, logged, parse, run, stage
from benchmarks.results import save
from benchmarks.trainers import LOGS


@dataclass(frozen=True)
class Contender:
    """A trainer at settings of its own.

    Args:
        name: In the table.
        prepare: Makes a folder ready for a seed, and returns the command to run there.
        checkpoints: Pattern of what it saves while it trains, and at the end.
        tag: What it writes for TensorBoard from its first rollout on.
    """

    name: str
    prepare: Callable[[Path, int], list[str]]
    checkpoints: str
    tag: str


def upstream(machine: Machine, library: str, *words: str) -> Contender:
    """Isaac Lab's trainer with its own settings but for ``words``."""

    def prepare(_folder: Path, seed: int) -> list[str]:
        return isaaclab(machine, library, f"--seed={seed}", *words)

    checkpoints = {"sb3": "model*.zip", "rsl_rl": "model_*.pt", "skrl": "agent_*.pt"}[library]
    return Contender(", ".join([library, *words]), prepare, checkpoints, LOGS[library][0])


def ours(machine: Machine, params: dict[str, Any]) -> Contender:
    """Name this project's train stage as a contender, with its own params but for ``params``."""

    def prepare(folder: Path, seed: int) -> list[str]:
        return stage(folder, {"sim.device": machine.device, **params, "seed": seed})

    name = ", ".join(["ours", *(f"{path}={value}" for path, value in params.items())])
    return Contender(name, prepare, "models/**/policy.safetensors", "time/fps")


CPU, GPU = Machine("cpu", "physx"), Machine("cuda:0", "newton_mjwarp")
# A checkpoint every 5 rollouts.
RSL_RL = "rsl_rl", "agent.save_interval=5"
SKRL = "skrl", "agent.agent.experiment.checkpoint_interval=80"
CONTENDERS = {
    CPU: [upstream(CPU, "sb3"), upstream(CPU, *RSL_RL), upstream(CPU, *SKRL)],
    GPU: [
        upstream(GPU, "sb3"),
        upstream(GPU, *RSL_RL),
        upstream(GPU, *RSL_RL, "--frontend=warp"),
        upstream(GPU, *SKRL),
    ],
}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="on a CUDA GPU with Newton, not on the CPU with PhysX")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("overrides", nargs="*", help="params of ours, as ppo.n_epochs=5")
    arguments = parser.parse_args()
    machine = GPU if arguments.gpu else CPU
    contenders = [ours(machine, parse(arguments.overrides)), *CONTENDERS[machine]]
    runs: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in contenders}
    for seed in arguments.seeds:
        for contender in contenders:
            runs[contender.name].append({"seed": seed} | train(contender, machine, seed))
            print(f"{contender.name}: {runs[contender.name][-1]}", flush=True)
            rows = [summarize(name, of) for name, of in runs.items() if of]
            save("solved-gpu" if arguments.gpu else "solved-cpu", machine, rows)


def train(contender: Contender, machine: Machine, seed: int) -> dict[str, Any]:
    """Train once, and find out when the task was solved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = run(contender.prepare(folder, seed), folder)
        first = logged(folder, contender.tag)[0][1] - process.started
        times = {path: path.stat().st_mtime - process.started for path in folder.rglob(contender.checkpoints)}
        checkpoints = sorted(times, key=times.__getitem__)
        verdicts = judge(machine, checkpoints)
    at = times[checkpoints[len(verdicts) - 1]]
    return {
        "solved_seconds": round(at, 1) if verdicts[-1]["solved"] else None,
        "start_seconds": round(first, 1),
        "end_seconds": round(process.seconds, 1),
        "return_mean": round(verdicts[-1]["return_mean"], 3),
        "success_rate": verdicts[-1]["success_rate"],
    }


def judge(machine: Machine, checkpoints: list[Path]) -> list[dict[str, Any]]:
    """How each checkpoint does, up to the first that solves the task."""
    command = [sys.executable, "-m", "benchmarks.judge", machine.physics, machine.device, *map(str, checkpoints)]
    lines = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def summarize(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Compute the median time of all seeds (None if that seed was not solved); keep every run."""
    times = [of_seed["solved_seconds"] or math.inf for of_seed in runs]
    median = statistics.median_high(times)
    return {"trainer": name, "solved_seconds": median if median < math.inf else None, "runs": runs}


if __name__ == "__main__":
    main()

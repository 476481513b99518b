"""How good the policies of several trainers are after equal timesteps, and after equal time, over many seeds.

Each trainer trains twice on a seed: for as many rollouts as this project does, and for as many as end by the time that
this project's training does. Time counts from the end of the first rollout: how long each needs to start is in
``benchmarks.solved``. Writes a CSV, which ``make compare`` reads, and goes on with what is in it already.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from benchmarks.curves import stock
from benchmarks.processes import Machine, isaaclab, logged, parse, run, stage
from benchmarks.results import RESULTS, save
from benchmarks.solved import CPU, GPU, judge
from benchmarks.trainers import LOGS, N_STEPS
from pipeline.experiment.params_file import load_params

OURS = "this project"


@dataclass(frozen=True)
class Peer:
    """A trainer: the command for a seed and a number of rollouts, what it logs a rollout, the policy it ends with."""

    command: Callable[[Path, int, int], list[str]]
    tag: str
    policy: str


def main() -> None:
    """Train all on each seed, and write the results after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="on a CUDA GPU with Newton, not on the CPU with PhysX")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--at-a-time", type=int, default=1, help="seeds side by side, each on cores of its own")
    parser.add_argument("overrides", nargs="*", help="params of ours, as ppo.n_epochs=5")
    given = parser.parse_args()
    machine = GPU if given.gpu else CPU
    name = "peers-gpu" if given.gpu else "peers-cpu"
    params = parse(given.overrides)
    trainers, count = peers(machine, params), rollouts(params)
    cores, free = sorted(os.sched_getaffinity(0)), SimpleQueue[set[int]]()
    for number in range(given.at_a_time):
        free.put(set(cores[number :: given.at_a_time]))
    rows, writing = read_csv(RESULTS / f"{name}.csv"), Lock()

    def train_all(seed: int) -> None:
        os.sched_setaffinity(0, mine := free.get())
        done = {row["group"]: row for row in rows if row["seed"] == seed}
        for row in on_seed(trainers, machine, seed, count, done):
            with writing:
                print(row, flush=True)
                rows.append(row)
                save(name, machine, rows)
                write_csv(RESULTS / f"{name}.csv", rows)
        free.put(mine)

    with ThreadPoolExecutor(given.at_a_time) as pool:
        list(pool.map(train_all, given.seeds))


def peers(machine: Machine, params: dict[str, Any]) -> dict[str, Peer]:
    """Name the trainers, with Isaac Lab's settings for each of its own, and this project's environments."""
    num_envs = params.get("train.num_envs", load_params().train.num_envs)

    def ours(folder: Path, seed: int, count: int) -> list[str]:
        return stage(folder, {"sim.device": machine.device, **params, "seed": seed, "train.max_iterations": count})

    def upstream(library: str, *words: str) -> Callable[[Path, int, int], list[str]]:
        size = f"--num_envs={num_envs}", *words
        return lambda _, seed, count: isaaclab(machine, library, *size, f"--seed={seed}", f"--max_iterations={count}")

    # Isaac Lab's 16 mini-batches of 4,096 environments, in the size that fits; logged once a rollout.
    sb3 = f"agent.batch_size={num_envs * N_STEPS // 16}", f"--log_interval={num_envs * N_STEPS}"
    every = f"agent.agent.experiment.write_interval={N_STEPS}", f"agent.agent.experiment.checkpoint_interval={N_STEPS}"
    frontend = ("--frontend=warp",) if machine == GPU else ()
    found = {
        OURS: Peer(ours, "time/fps", "models/policy.safetensors"),
        "stock SB3": Peer(upstream("sb3", *sb3), LOGS["sb3"][0], "model.zip"),
        "rsl_rl": Peer(upstream("rsl_rl", *frontend), LOGS["rsl_rl"][0], "model_*.pt"),
        "skrl": Peer(upstream("skrl", *every), LOGS["skrl"][0], "agent_*.pt"),
    }
    if machine == CPU:
        found["stock SB3 with this project's settings"] = Peer(
            lambda _, seed, count: [*stock(seed), f"--max_iterations={count}"], LOGS["sb3"][0], "model.zip"
        )
    return found


def rollouts(params: dict[str, Any]) -> int:
    """Count the rollouts of this project's training."""
    train = load_params().train
    total, num_envs = (params.get(f"train.{key}", getattr(train, key)) for key in ("total_timesteps", "num_envs"))
    return -(-total // (num_envs * N_STEPS))


def on_seed(
    trainers: dict[str, Peer], machine: Machine, seed: int, count: int, done: dict[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Train with each for ``count`` rollouts, then for as many as this project's time has room for."""

    def once(group: str, peer: Peer, count: int) -> Iterator[dict[str, Any]]:
        if group not in done:
            done[group] = {"group": group, "seed": seed} | train(peer, machine, seed, count)
            yield done[group]

    yield from once(OURS, trainers[OURS], count)
    for name, peer in trainers.items():
        if name != OURS:
            yield from once(f"{name}, same timesteps", peer, count)
            room = 1 + int(done[OURS]["seconds"] * (count - 1) / done[f"{name}, same timesteps"]["seconds"])
            yield from once(f"{name}, same time", peer, room)


def train(peer: Peer, machine: Machine, seed: int, count: int) -> dict[str, Any]:
    """Train once for ``count`` rollouts, and evaluate the policy at the end on held-out episodes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(peer.command(folder, seed, count), folder)
        times = [time for _, time, _ in logged(folder, peer.tag)]
        last = max(folder.rglob(peer.policy), key=lambda path: path.stat().st_mtime)
        (verdict,) = judge(machine, [last])
    return {
        "return_mean": round(verdict["return_mean"], 4),
        "success_rate": verdict["success_rate"],
        "rollouts": count,
        "seconds": round(times[-1] - times[0], 1),
    }


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Read what has been measured already."""
    numbers = {"seed": int, "return_mean": float, "success_rate": float, "rollouts": int, "seconds": float}
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row | {key: read(row[key]) for key, read in numbers.items()} for row in csv.DictReader(file)]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a row a training, sorted by trainer and seed."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["group"] != OURS, row["group"], row["seed"])))


if __name__ == "__main__":
    main()

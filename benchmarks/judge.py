"""Finds the first of a trainer's checkpoints that solves the task, as `evaluate` does. A process; prints JSON lines."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import torch
from stable_baselines3 import PPO
from torch import nn

from benchmarks.processes import Machine, params_on
from pipeline import simulation
from pipeline.actor import Actor
from pipeline.description import Normalization, describe_normalization
from pipeline.evaluation import Actor as Acts
from pipeline.evaluation import play_episodes, summarize
from pipeline.policy import Policy

SOLVED_RETURN, SOLVED_RATE = 4.85, 0.99


def main(physics: str, device: str, *checkpoints: str) -> None:
    """Play held-out episodes with one checkpoint after another, until one is good enough; a line each."""
    params = params_on(Machine(device, physics))
    cfg, _ = simulation.configure(params, num_envs=params.evaluate.num_envs, seed=params.evaluate.seed)
    with simulation.running(params, cfg, Path(os.devnull)) as env:
        for path in checkpoints:
            env.seed(params.evaluate.seed)
            with torch.inference_mode():
                metrics = summarize(play_episodes(env, load(Path(path), device), params.evaluate.episodes), seed=0)
            solved = metrics["return_mean"] >= SOLVED_RETURN and metrics["success_rate"] >= SOLVED_RATE
            row = {"checkpoint": path, "solved": solved} | {
                name: metrics[name] for name in ("return_mean", "success_rate")
            }
            print(json.dumps(row), flush=True)
            if solved:
                break


def load(path: Path, device: str) -> Acts:
    """The policy that ours, SB3 or rsl_rl has saved as ``path``, as it acts without noise."""
    if path.suffix == ".safetensors":
        return Policy.load(path.parent).actor(device)
    if path.suffix == ".zip":
        model = PPO.load(path, device=device)
        normalization = normalization_in(path.with_name(f"{path.stem}_vecnormalize.pkl"))
        return Actor(model.policy, model.action_space, normalization).to(device)  # type: ignore[arg-type]  # a Box
    weights = torch.load(path, map_location=device, weights_only=True)["actor_state_dict"]
    return perceptron({name: tensor for name, tensor in weights.items() if name.startswith("mlp.")}).to(device)


def normalization_in(path: Path) -> Normalization | None:
    """What Isaac Lab's SB3 workflow has saved of VecNormalize, if it has."""
    if not path.exists():
        return None
    return Normalization.model_validate(describe_normalization(pickle.loads(path.read_bytes())))


def perceptron(weights: dict[str, torch.Tensor]) -> nn.Sequential:
    """rsl_rl's network of the cartpole: linear layers with ELU between them, whose output nothing bounds."""
    layers: list[nn.Module] = []
    for tensor in weights.values():
        if tensor.ndim == 2:
            layers += [nn.Linear(tensor.shape[1], tensor.shape[0]), nn.ELU()]
    network = nn.Sequential(*layers[:-1])
    network.load_state_dict({name.removeprefix("mlp."): tensor for name, tensor in weights.items()})
    return network


if __name__ == "__main__":
    main(*sys.argv[1:])

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
from pipeline.evaluation.episodes import play_episodes
from pipeline.evaluation.statistics import summarize
from pipeline.policy.inference import InferencePolicy
from pipeline.policy.policy import Policy
from pipeline.policy.schema import Normalization, describe_normalization
from pipeline.simulation import configuration, launch
from pipeline.simulation.tensor_env import PolicyFn

SOLVED_RETURN, SOLVED_RATE = 4.85, 0.99


def main(physics: str, device: str, *checkpoints: str) -> None:
    """Play held-out episodes with one checkpoint after another, until one is good enough; a line each."""
    params = params_on(Machine(device, physics), deterministic=False)
    cfg, _ = configuration.configure(
        params.sim, params.env, num_envs=params.evaluate.num_envs, seed=params.evaluate.seed
    )
    with launch.running(params.sim, cfg, Path(os.devnull)) as env:
        for path in checkpoints:
            env.seed(params.evaluate.seed)
            policy = load(Path(path), device)
            with torch.inference_mode():
                metrics = summarize(play_episodes(env, policy, params.evaluate.episodes), seed=0)
            solved = metrics["return_mean"] >= SOLVED_RETURN and metrics["success_rate"] >= SOLVED_RATE
            row = {"checkpoint": path, "solved": solved} | {
                name: metrics[name] for name in ("return_mean", "success_rate")
            }
            print(json.dumps(row), flush=True)
            if solved:
                break


def load(path: Path, device: str) -> PolicyFn:
    """Load the policy that ours, SB3, rsl_rl or skrl has saved as ``path``, to act without noise."""
    if path.suffix == ".safetensors":
        return Policy.load(path.parent).for_inference(device)
    if path.suffix == ".zip":
        model = PPO.load(path, device=device)
        normalization = normalization_in(path.with_name(f"{path.stem}_vecnormalize.pkl"))
        return InferencePolicy(model.policy, model.action_space, normalization).to(device)  # type: ignore[arg-type]  # a Box
    saved = torch.load(path, map_location=device, weights_only=True)
    weights = saved["actor_state_dict"] if "actor_state_dict" in saved else saved["policy"]
    return perceptron({name: tensor for name, tensor in weights.items() if not name.startswith("value_layer")})


def normalization_in(path: Path) -> Normalization | None:
    """Read what Isaac Lab's SB3 workflow has saved of VecNormalize; None if it has not."""
    if not path.exists():
        return None
    return Normalization.model_validate(describe_normalization(pickle.loads(path.read_bytes())))


def perceptron(weights: dict[str, torch.Tensor]) -> nn.Sequential:
    """Isaac Lab's network of the cartpole: linear layers with ELU between them, whose output nothing bounds."""
    layers: list[nn.Module] = []
    for name, weight in weights.items():
        if name.endswith(".weight"):
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.weight.data, layer.bias.data = weight, weights[name.replace(".weight", ".bias")]
            layers += [layer, nn.ELU()]
    return nn.Sequential(*layers[:-1])


if __name__ == "__main__":
    main(*sys.argv[1:])

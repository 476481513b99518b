"""The model card as Hugging Face has it: Markdown, with metadata as YAML in front. The same values make the same bytes.

https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from pipeline.experiment.policy_kwargs import optimizer_name

# From what a robot measures to what its motors are told, for any policy that has these files.
EXAMPLE = """\
import json
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("policy.onnx")
meta = session.get_modelmeta().custom_metadata_map

def factors(name):
    return np.array([[signal["scale"], signal["offset"]] for signal in json.loads(meta[name])]).T

(scale, offset), (action_scale, action_offset) = factors("observations"), factors("actions")

def command(measured):  # [n, observations] to [n, actions], in the units below
    (actions,) = session.run(["actions"], {"observations": (scale * (measured - offset)).astype(np.float32)})
    return action_scale * actions + action_offset
"""

UNITS = {"cart_displacement_max": "m", "effort_rms": "N", "length_mean": "steps", "pole_angle_rms": "rad"}

FILES = {
    "policy.onnx": "the policy alone, with its normalisation inside, in ONNX opset 12",
    "policy.safetensors, policy.json": "weights, and all that is needed to rebuild the policy; no pickle",
    "optimizer.safetensors": "{optimizer}'s state at the end, to go on training from",
    "model.zip, model_vecnormalize.pkl": "for stock Stable-Baselines3, and `isaaclab play`",
    "checkpoints/": "the policy in the course of training, by timesteps",
    "env.yaml, agent.yaml": "the task and the agent, with every default",
}


def write_card(
    policy: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    params: Mapping[str, Any],
) -> str:
    """Write the card.

    Args:
        policy: The content of ``policy.json``.
        evaluation: The metrics of the evaluation.
        params: The sections of the params that the policy and its evaluation depend on, as plain values.
    """
    return f"""---
{_metadata(policy, evaluation)}
---

# A policy for {policy["task"]}

{_summary(policy, evaluation, params)}

## Use it

With onnxruntime and NumPy alone:

```python
{EXAMPLE}```

{_signals(policy["signals"])}

With stock Stable-Baselines3, `PPO.load("model.zip")` takes observations that `VecNormalize.load` has normalised:

```python
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

normalize = VecNormalize.load("model_vecnormalize.pkl", venv)  # venv: environments with the same spaces
normalize.training = False
actions, _ = PPO.load("model.zip").predict(normalize.normalize_obs(observations), deterministic=True)
```

Stable-Baselines3 2.0 with NumPy 2.0 is the oldest that was seen to read them. A pickle can run code: load those two
files only from whom you trust. The others cannot.

## Files

{_table(("file", "what"), _files(policy["agent"]))}

`sha256sum -c SHA256SUMS` checks them.

## Results

{_results(evaluation)}

{params["evaluate"]["episodes"]:,} episodes with deterministic actions, from starts that the training never saw.

## How it was made

The params:

```yaml
{yaml.safe_dump(dict(params), sort_keys=True).rstrip()}
```

The same params, code, assets and packages make the same bytes again. The version's `dvc.lock`, which `make get` puts
beside this file, has the digests of all of them.

## Limits

The policy knows the simulated task that is named above and nothing else. Nobody has tried it on a real robot.
"""


def _files(agent: Mapping[str, Any]) -> list[tuple[str, str]]:
    optimizer = (agent.get("policy_kwargs") or {}).get("optimizer_class") or "Adam"  # SB3's own
    return [(name, what.format(optimizer=optimizer_name(optimizer))) for name, what in FILES.items()]


def _metadata(policy: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    task = {"task_type": "reinforcement-learning", "dataset_type": policy["task"], "dataset_name": policy["task"]}
    results = [
        EvalResult(**task, metric_type=name, metric_value=value)
        for name, value in evaluation.items()
        if name != "policy_sha256"
    ]
    card = ModelCardData(
        model_name=f"PPO on {policy['task']}",
        eval_results=results,
        license="bsd-3-clause",
        library_name="stable-baselines3",
        pipeline_tag="reinforcement-learning",
        tags=["reinforcement-learning", "robotics", "isaac-lab", "ppo", policy["task"]],
        policy_sha256=evaluation["policy_sha256"],
    )
    return card.to_yaml()


def _summary(policy: Mapping[str, Any], evaluation: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    rates = [f"{name.replace('_', ' ')} {evaluation[name]:.1%}" for name in evaluation if name.endswith("_rate")]
    return (
        f"PPO of Stable-Baselines3, trained for {policy['timesteps']:,} timesteps in Isaac Lab "
        f"{metadata.version('isaaclab')} ({params['sim']['physics']}) with seed {policy['seed']}. "
        f"Return {evaluation['return_mean']:.3f} ({evaluation['return_low']:.3f} to {evaluation['return_high']:.3f}), "
        f"{', '.join(rates)}."
    )


def _results(evaluation: Mapping[str, Any]) -> str:
    metrics = ((name, value, UNITS.get(name, "")) for name, value in evaluation.items() if name != "policy_sha256")
    return _table(("metric", "value", "unit"), metrics)


def _signals(signals: Mapping[str, Any]) -> str:
    """Tell what goes in and what comes out."""
    titles = ("", "name", "unit", "scale", "offset", "axis")
    tables = {
        name: _table(titles, ((number, *_cells(signal)) for number, signal in enumerate(signals[name])))
        for name in ("observations", "actions")
    }
    return f"""The policy acts {signals["rate"]:g} times a second. What it is given, scale * (measured - offset):

{tables["observations"]}

An action within its bounds asks for scale * action + offset:

{tables["actions"]}

The axis is that along which a joint slides, or about which it turns (right-hand rule), in the environment's frame at
the start. Where there is no unit, only the task's code says what a number means."""


def _cells(signal: Mapping[str, Any]) -> tuple[str, ...]:
    axis = signal["axis"]
    direction = f"({', '.join(f'{number:g}' for number in axis)})" if axis else ""
    return signal["name"], signal["unit"] or "", f"{signal['scale']:g}", f"{signal['offset']:g}", direction


def _table(titles: tuple[str, ...], rows: Any) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)

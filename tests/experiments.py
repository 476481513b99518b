"""Small experiments with what people choose: other simulators, tasks, networks, and ways to learn.

`python -m tests.experiments` writes the digests of their outputs to `experiments.json` beside this file: those that
every machine should give. Run it when a change is meant to change them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pipeline.experiment.files import write_json
from pipeline.experiment.records import recorded_outputs
from tests.conftest import Project, copy_project

RECORDED = Path(__file__).parent / "experiments.json"
DIRECT = "Isaac-Cartpole-Direct"

# Changes to the small experiment of `conftest.py`, which is PhysX, manager-based, ELU, Adam.
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "Newton, Tanh, SGD": {
        "sim": {"physics": "newton_mjwarp"},
        "ppo": {"policy_kwargs": {"activation_fn": "nn.Tanh", "optimizer_class": "optim.SGD"}},
    },
    "PhysX, direct, SiLU, gSDE, from a policy": {
        "sim": {"task": DIRECT},
        "ppo": {"policy_kwargs": {"activation_fn": "nn.SiLU"}, "use_sde": True},
        "train": {"init_from": "pretrained"},
    },
    "Newton, direct, ReLU, clip_range_vf, not normalised": {
        "sim": {"task": DIRECT, "physics": "newton_mjwarp"},
        "ppo": {"policy_kwargs": {"activation_fn": "nn.ReLU"}, "clip_range_vf": 0.2},
        "normalize": {"observations": False, "rewards": False},
    },
    "PhysX, two networks, two threads": {
        "sim": {"threads": 2},
        "ppo": {"policy_kwargs": {"net_arch": {"pi": [64], "vf": [256, 128]}}},
    },
}


def run_experiment(name: str, folder: Path) -> dict[str, str]:
    """Run one of :data:`EXPERIMENTS` in ``folder``; return the MD5 of each of its outputs, by their paths.

    The card is left out: its words change, and its numbers are those of the others.
    """
    project = copy_project(folder / "clone", EXPERIMENTS[name])
    if EXPERIMENTS[name].get("train", {}).get("init_from") == "pretrained":
        _pretrain(project)
    project.run("dvc", "repro")
    outputs = recorded_outputs((project.folder / "dvc.lock").read_text())
    return {path: digest for name, made in outputs.items() if name != "card" for path, digest in made.items()}


def _pretrain(project: Project) -> None:
    """Train a policy to start from, from random weights, and put it where ``train.init_from`` says."""
    params = (project.folder / "params.yaml").read_text()
    project.edit_params({"train": {"init_from": "assets/random_weights.md"}})
    project.run("dvc", "repro", "train")
    shutil.copytree(project.folder / "models", project.folder / "pretrained")
    (project.folder / "params.yaml").write_text(params)


def main() -> None:
    """Run all, and write their digests."""
    digests = {}
    for name in EXPERIMENTS:
        with tempfile.TemporaryDirectory() as folder:
            digests[name] = run_experiment(name, Path(folder))
    write_json(RECORDED, digests)


def recorded() -> dict[str, dict[str, str]]:
    """The digests that every machine should give."""
    return json.loads(RECORDED.read_text())


if __name__ == "__main__":
    main()

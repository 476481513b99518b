"""Paths of the project, relative to its folder, in which every stage runs."""

from __future__ import annotations

from pathlib import Path

PARAMS_FILE = Path("params.yaml")
PIPELINE_FILE = Path("dvc.yaml")
LOCK_FILE = Path("dvc.lock")
LOCKED_PACKAGES = Path("requirements.txt")
LICENSE = Path("LICENSE")

# What the stages read, and DVC watches.
CODE = Path("pipeline")
STAGES = Path("stages")
ASSETS = Path("assets")
TASKS = Path("tasks")
ISAAC_LAB = "isaaclab"  # in place of a project in TASKS; a folder, since DVC has no optional dependencies
CARTPOLE = ASSETS / "cartpole.usda"
GROUND = ASSETS / "ground.usda"  # in place of the plane that Isaac Lab downloads
STUDIO = ASSETS / "studio.usda"  # what the camera sees around the robot
RANDOM_WEIGHTS = "assets/random_weights.md"  # in place of a policy; a file, since DVC has no optional dependencies

# What the stages write.
CHECKED = Path(".checked.json")
MODELS = Path("models")
POLICY_FILES = ("policy.json", "policy.safetensors")
CHECKPOINTS = MODELS / "checkpoints"
METRICS = Path("metrics")
TRAIN_METRICS = METRICS / "train.json"
LEARNING_CURVE = METRICS / "learning_curve.csv"
EVALUATION = METRICS / "evaluate.json"
EPISODES = METRICS / "episodes.csv"
PROVENANCE = METRICS / "provenance.jsonl"
VIDEOS = Path("videos")
VIDEO = VIDEOS / "policy.mp4"
GIF = VIDEOS / "policy.gif"
FILM_STRIP = VIDEOS / "film_strip.png"

# Of this machine alone, in the main repository.
LOGS = "logs"
RESUME = ".resume"

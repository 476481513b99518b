"""Checks of a task's configuration, with all that the params change in it, before the simulator starts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.utils import to_dict

from pipeline.experiment.errors import UserError
from pipeline.experiment.paths import ASSETS
from pipeline.simulation.tracked import check_file

LONGEST_STEP, LONGEST_EPISODE = 1.0, 1e6  # s
EVENT_MODES = ("prestartup", "startup", "reset", "interval")  # that Isaac Lab's environments apply; others never happen


def check_files(cfg: Any, task: str) -> None:
    """Refuse files of ``task`` that DVC would not see a change of, or that are not here and would be downloaded.

    Raises:
        UserError: For the first such file.
    """
    for path, value in _texts(to_dict(cfg)):
        if "visualizer" in path:  # frames and arrows in a window, which nobody opens
            continue
        if path.endswith("usd_path") and "://" in value:
            raise UserError(
                f"{task} needs {value}, which is not here: download it into {ASSETS}/, with the files that it reads, "
                f"and set env.{path} to its path there"
            )
        check_file(f"env.{path}", value)


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """List the texts in nested mappings and lists, with their dotted paths."""
    if isinstance(value, str):
        yield path, value
    if isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, item in items:
            yield from _texts(item, f"{path}.{name}" if path else str(name))


def check_values(cfg: Any, of_the_params: tuple[int, int, str]) -> None:
    """Refuse values that nothing can run with.

    Args:
        cfg: The configuration.
        of_the_params: The number of environments, the seed and the device, which follow from other params.

    Raises:
        UserError: For the first such value.
    """
    if None in (cfg.sim, cfg.scene):
        raise UserError("env: sim and scene cannot be null, since nothing runs without them")
    if (cfg.scene.num_envs, cfg.seed, cfg.sim.device) != of_the_params:
        raise UserError(
            "env: scene.num_envs, seed and sim.device follow from other params; "
            "set seed, sim.device, or num_envs in train, evaluate or render"
        )
    for path, value in {
        "sim.dt": cfg.sim.dt,
        "decimation": cfg.decimation,
        "episode_length_s": cfg.episode_length_s,
    }.items():
        if not 0 < value < math.inf:
            raise UserError(f"env.{path} should be a number greater than 0 (given: {value})")
    if cfg.sim.dt * cfg.decimation > LONGEST_STEP or cfg.episode_length_s > LONGEST_EPISODE:
        raise UserError(
            f"env: a step should last at most {LONGEST_STEP} s (sim.dt {cfg.sim.dt} x decimation {cfg.decimation}), "
            f"and an episode {LONGEST_EPISODE} s (episode_length_s {cfg.episode_length_s})"
        )
    _check_terms(cfg)


def _check_terms(cfg: Any) -> None:
    """Refuse a manager-based task without a time limit, and events that would never happen."""
    if isinstance(cfg, ManagerBasedRLEnvCfg):
        ends = vars(cfg.terminations or object).values()
        if not any(getattr(term, "time_out", False) for term in ends):
            raise UserError("env.terminations: a term should have time_out, or an evaluation might never end")
    for name, term in vars(getattr(cfg, "events", None) or object).items():
        if getattr(term, "mode", "reset") not in EVENT_MODES:
            raise UserError(f"env.events.{name}.mode should be one of {', '.join(EVENT_MODES)} (given: {term.mode!r})")

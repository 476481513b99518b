"""The state of a training at a checkpoint: all that it takes to go on to the bits of a training never stopped.

The state of the simulator is not saved. Instead every training, stopped or not, starts all environments afresh at every
checkpoint, with random numbers that depend on the seed and the timesteps alone.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch
from stable_baselines3.common.callbacks import EveryNTimesteps

from pipeline.experiment.files import to_json
from pipeline.policy.policy import Policy
from pipeline.policy.schema import Moments
from pipeline.ppo.ppo import TensorPPO
from pipeline.ppo.vec_normalize import TensorMoments
from pipeline.training.callbacks import LearningCurve, TaskStatistics
from pipeline.training.optimizer_state import OPTIMIZER_FILE, encode_optimizer, load_optimizer

PROGRESS = "progress.json"


def load_policy(model: TensorPPO, policy: Policy) -> None:
    """Give ``model`` the weights of ``policy``, which has the same layers, and its VecNormalize the statistics."""
    model.policy.load_state_dict(policy.weights)
    if policy.normalization:
        _load_moments(model.env.obs_rms, policy.normalization.observations)
        _load_moments(model.env.ret_rms, policy.normalization.rewards)


def _load_moments(own: TensorMoments, saved: Moments | None) -> None:
    if saved:
        for name in ("mean", "var", "count"):
            target = getattr(own, name)
            target.copy_(torch.as_tensor(getattr(saved, name), dtype=target.dtype))


def start_afresh(model: TensorPPO) -> None:
    """Start an episode in every environment, which depends on the seed and the timesteps alone, to the bit."""
    seed = np.random.SeedSequence([model.seed or 0, model.num_timesteps]).generate_state(1)[0]
    model.env.venv.seed(int(seed >> 1))  # of the simulator, torch, numpy, and Python; 31 bits, as Warp has them
    model._last_obs = model.env.reset()
    env = model.env.venv.task
    for name in ("_last_episode_dones", "_last_episode_dones_wp"):  # of the torch and of the Warp front end
        reasons = getattr(getattr(env, "termination_manager", None), name, None)
        if reasons is not None:
            reasons.zero_()  # why the last episodes ended: a statistic of the task's that a reset does not forget
    model.env.venv.randomize_episode_lengths()


class TrainingState:
    """All that the future of a running training depends on, beside the policy and the simulator.

    Args:
        model: PPO.
        curve: Its learning curve so far.
        logging: The callback that adds points to it.
        task: The callback that logs the task's own statistics.
    """

    def __init__(self, model: TensorPPO, curve: LearningCurve, logging: EveryNTimesteps, task: TaskStatistics) -> None:
        self.model, self.curve, self.logging, self.task = model, curve, logging, task

    def files(self) -> dict[str, bytes]:
        """Encode the state at the start of a rollout: the optimizer's, and all else."""
        return {OPTIMIZER_FILE: encode_optimizer(self.model.policy.optimizer), PROGRESS: to_json(self._values())}

    def _values(self) -> dict[str, Any]:
        model, logger = self.model, self.model.logger
        return {
            "updates": model._n_updates,
            "steps_of_the_task": self._task_env.common_step_counter,  # what its curriculum goes by
            "normalization_learns": model.env.training,
            "episodes": list(model.ep_info_buffer),
            "episodes_of_the_task": list(self.task.episodes),
            "curve": self.curve.rows,
            "last_point": self.logging.last_time_trigger,
            "next_point": {name: float(value) for name, value in logger.name_to_value.items()},
            "not_in_next_point": {name: list(formats) for name, formats in logger.name_to_excluded.items()},
        }

    def restore(self, policy: Policy, files: Mapping[str, bytes]) -> None:
        """Restore a state that was saved; :func:`start_afresh` comes next, as it did when the state was saved."""
        model, values = self.model, json.loads(files[PROGRESS])
        load_policy(model, policy)
        load_optimizer(model.policy.optimizer, safetensors.torch.load(files[OPTIMIZER_FILE]), model.device)
        model.num_timesteps, model._n_updates = policy.timesteps, values["updates"]
        self._task_env.common_step_counter = values["steps_of_the_task"]
        model.env.training = values["normalization_learns"]
        model.ep_info_buffer = deque(values["episodes"], maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        self.task.episodes.extend(values["episodes_of_the_task"])
        # JSON has sorted the keys, and their order is that of the columns.
        self.curve.rows.extend({"timesteps": row["timesteps"]} | row for row in values["curve"])
        self.logging.last_time_trigger = values["last_point"]
        model.logger.name_to_value.update(values["next_point"])
        model.logger.name_to_excluded.update(
            {name: tuple(formats) for name, formats in values["not_in_next_point"].items()}
        )

    @property
    def _task_env(self) -> Any:
        return self.model.env.venv.task

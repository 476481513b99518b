"""The trained unit: a policy as ``policy.safetensors`` (weights) and ``policy.json`` (all else).

Neither file can run code when it is read. The same values make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import safetensors.torch
import torch
from pydantic import ConfigDict, Field, JsonValue, NonNegativeInt, ValidationError
from pydantic import model_validator as validator
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from pipeline.experiment.files import read_json, to_json, write_atomically
from pipeline.experiment.params import Ppo
from pipeline.experiment.paths import POLICY_FILES
from pipeline.policy.errors import PolicyError, explained, read_file
from pipeline.policy.inference import InferencePolicy
from pipeline.policy.network import build_network, check_network, count_weights
from pipeline.policy.schema import Normalization, Signals, Space, StrictModel, describe_normalization, first_finding

FILES = JSON_FILE, WEIGHTS_FILE = POLICY_FILES
FORMAT = 2  # of policy.json


class Policy(StrictModel):
    """A trained policy: the fields are the content of ``policy.json``, but for the weights."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    task: str
    agent: dict[str, JsonValue]  # PPO's arguments under SB3's names
    observation_space: Space
    action_space: Space
    signals: Signals | None = None  # null: not known
    normalization: Normalization | None
    timesteps: NonNegativeInt  # that it was trained for
    seed: int | None
    weights: dict[str, torch.Tensor] = Field(exclude=True, repr=False)  # on the CPU, under SB3's names

    @classmethod
    def from_sb3(
        cls,
        model: PPO,
        normalization: VecNormalize | None,
        task: str,
        agent: dict[str, Any],
        signals: dict[str, Any] | None = None,
    ) -> Self:
        """Copy the policy out of ``model``, which may go on training.

        Args:
            model: PPO on a flat Box of observations and of actions.
            normalization: The VecNormalize that it trains in, if any.
            task: The task that it trains on.
            agent: PPO's arguments in full, as plain values (``lin_3e-3``, ``nn.ELU``).
            signals: What observations and actions mean, in the form of :class:`Signals`; None if not known.

        Raises:
            PolicyError: If a number is NaN or infinite, or ``agent`` does not describe ``model``.
        """
        weights = model.get_parameters()["policy"]
        with explained("the policy", "nothing was saved: lower ppo.learning_rate, or look at the settings"):
            policy = cls.model_validate(
                {
                    "task": task,
                    "agent": agent,
                    "observation_space": Space.from_gymnasium(model.observation_space),
                    "action_space": Space.from_gymnasium(model.action_space),
                    "signals": signals,
                    "normalization": describe_normalization(normalization) if normalization else None,
                    "timesteps": model.num_timesteps,
                    "seed": model.seed,
                    "weights": {name: tensor.detach().cpu().clone() for name, tensor in weights.items()},
                }
            )
            policy._check_weights()
        return policy

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            PolicyError: If a file is missing, the two do not belong together, or one is not byte for byte what
                :meth:`save` writes for its content.
        """
        json_file, weights_file = folder / JSON_FILE, folder / WEIGHTS_FILE
        with explained(json_file):
            policy, digest = cls._read_description(read_file(json_file))
        with explained(weights_file):
            content = read_file(weights_file)
            if hashlib.sha256(content).hexdigest() != digest:
                raise ValueError(f"does not belong to {json_file}, or is damaged")
            policy = policy.model_copy(update={"weights": safetensors.torch.load(content)})
            policy._check_weights()
            if safetensors.torch.save(policy.weights) != content:
                raise ValueError("was changed since it was written")
        return policy

    @classmethod
    def load_trained(cls, folder: Path, metrics: Path) -> Self:
        """Read the policy in ``folder``, and see that the training whose metrics are in ``metrics`` made it.

        Git brings another commit's metrics, and only `dvc checkout` its policy.

        Raises:
            PolicyError: As :meth:`load` does, or if another training made it.
        """
        policy = cls.load(folder)
        if (trained := read_json(metrics).get("policy_sha256")) != policy.sha256:
            raise PolicyError(
                f"{folder} holds another policy than the one that {metrics} tells of (policy_sha256 "
                f"{policy.sha256[:12]}, not {str(trained)[:12]}); `git checkout HEAD -- metrics dvc.lock` and `dvc "
                "checkout` bring both of this commit, `dvc repro train` trains anew, and "
                "`make evaluate POLICY=<folder>` evaluates another's"
            )
        return policy

    def save(self, folder: Path) -> None:
        """Write ``policy.safetensors`` and ``policy.json`` into ``folder``."""
        for name in (WEIGHTS_FILE, JSON_FILE):  # in this order: who sees policy.json finds the weights
            write_atomically(folder / name, self.files[name])

    @cached_property
    def sha256(self) -> str:
        """The policy's identity: what ``cat policy.json policy.safetensors | sha256sum`` prints."""
        return hashlib.sha256(b"".join(self.files.values())).hexdigest()

    @cached_property
    def files(self) -> dict[str, bytes]:
        """What :meth:`save` writes, by the names of the files."""
        weights = safetensors.torch.save(self.weights)
        return {JSON_FILE: self._describe(hashlib.sha256(weights).hexdigest()), WEIGHTS_FILE: weights}

    def check_matches(self, task: str, observation_space: gym.Space, action_space: gym.Space) -> None:
        """Refuse an environment other than the one that the policy was trained for.

        Raises:
            PolicyError: If the task, the observations or the actions differ.
        """
        _compare("task", self.task, task)
        _compare("observations", self.observation_space.to_gymnasium(), observation_space)
        _compare("actions", self.action_space.to_gymnasium(), action_space)

    def network(self) -> ActorCriticPolicy:
        """Build SB3's policy with weights that mean nothing, without touching the process's random numbers.

        Raises:
            ValueError: If ``agent`` describes no network that SB3 can build.
        """
        try:
            return build_network(self.agent, self.observation_space.to_gymnasium(), self.action_space.to_gymnasium())
        except ValueError as error:
            raise ValueError(f"agent.{error}") from None

    def for_inference(self, device: torch.device | str) -> InferencePolicy:
        """Build the deterministic policy on ``device``."""
        network = self.network()
        network.load_state_dict(self.weights)
        return InferencePolicy(network, self.action_space.to_gymnasium(), self.normalization).to(device)

    @classmethod
    def _read_description(cls, content: bytes) -> tuple[Self, str]:
        """Read ``policy.json``: a policy without weights, and their digest."""
        fields = {**json.loads(content)}
        version, digest = fields.pop("format", None), str(fields.pop("weights_sha256", None))
        if version != FORMAT:
            raise ValueError(f"has the format {version}, and this code reads {FORMAT}")
        policy = cls.model_validate({**fields, "weights": {}})
        if policy._describe(digest) != content:
            raise ValueError("was changed since it was written")
        return policy, digest

    def _describe(self, digest: str) -> bytes:
        """Write ``policy.json`` for weights with this SHA-256."""
        return to_json({"format": FORMAT, **self.model_dump(), "weights_sha256": digest})

    @validator(mode="after")
    def _consistent(self) -> Self:
        if self.signals and (len(self.signals.observations), len(self.signals.actions)) != (
            self.observation_space.shape[0],
            self.action_space.shape[0],
        ):
            raise ValueError("signals should have one entry for each observation, and one for each action")
        observations = self.normalization and self.normalization.observations
        if observations and not len(observations.mean) == len(observations.var) == self.observation_space.shape[0]:
            raise ValueError("normalization.observations should have one mean and one variance for each observation")
        try:
            Ppo.model_validate(self.agent)
            check_network(self.agent)
        except ValidationError as error:
            raise ValueError(f"agent.{first_finding(error)}") from None
        except ValueError as error:
            raise ValueError(f"agent.{error}") from None
        return self

    def _check_weights(self) -> None:
        """Raise ValueError unless the weights are finite, fit the network, and make it act."""
        layers = count_weights(self.agent, self.observation_space.shape[0], self.action_space.shape[0])
        if layers > (given := sum(tensor.numel() for tensor in self.weights.values())):
            raise ValueError(f"does not fit {JSON_FILE}: has {given} weights, and not {layers}")
        network = self.network()
        expected = network.state_dict()
        if names := expected.keys() ^ self.weights.keys():
            raise ValueError(f"does not fit {JSON_FILE}: {min(names)} is missing or too much")
        for name, tensor in self.weights.items():
            if (tensor.shape, tensor.dtype) != (expected[name].shape, expected[name].dtype):
                raise ValueError(f"does not fit {JSON_FILE}: {name} has shape {list(tensor.shape)}, {tensor.dtype}")
            if not tensor.isfinite().all():
                raise ValueError(f"has a weight that is not finite, in {name}")
        network.load_state_dict(self.weights)
        act = InferencePolicy(network, self.action_space.to_gymnasium(), self.normalization)
        if not act(torch.zeros(1, self.observation_space.shape[0])).isfinite().all():
            raise ValueError("has weights so large that its actions are not finite")


def _compare(name: str, trained: object, running: object) -> None:
    if trained != running:
        raise PolicyError(f"the policy was trained for the {name} {trained}, not {running}; run `dvc repro train`")

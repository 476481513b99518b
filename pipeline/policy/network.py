"""SB3's networks from PPO's arguments as plain values, and what cannot be one."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import torch
from gymnasium.spaces import Box
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from pipeline.experiment.errors import did_you_mean
from pipeline.policy.sb3_arguments import policy_arguments

MOST_WEIGHTS = 100_000_000  # of the layers between observations and actions: 1.2 GB with Adam's moments
SB3_LAYERS = (64, 64)  # where net_arch is not given


def build_network(agent: dict[str, Any], observation_space: Box, action_space: Box) -> ActorCriticPolicy:
    """Build SB3's policy with weights that mean nothing, without touching the process's random numbers.

    Args:
        agent: PPO's arguments under SB3's names, as plain values.
        observation_space: A flat Box.
        action_space: A flat Box.

    Raises:
        ValueError: If ``agent`` describes no network that SB3 can build.
    """
    if agent.get("policy") != "MlpPolicy":
        raise ValueError("policy should be MlpPolicy, the only one supported here")
    try:
        arguments = policy_arguments(agent)
        check_activation(arguments.get("activation_fn", nn.Tanh))
    except AttributeError:
        near = did_you_mean(_activation(agent).removeprefix("nn."), nn.modules.activation.__all__)
        raise ValueError(f"policy_kwargs.activation_fn: torch.nn has no {_activation(agent)}; {near}") from None
    except ValueError as error:
        raise ValueError(f"policy_kwargs.activation_fn: {error} (given: {_activation(agent)})") from None
    arguments |= {
        "use_sde": agent.get("use_sde", False),
        "ortho_init": False,
        "optimizer_class": lambda parameters, lr, **settings: None,  # nothing is trained
    }
    try:
        with torch.random.fork_rng(devices=[]):
            return ActorCriticPolicy(observation_space, action_space, lambda _: 0.0, **arguments)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"policy_kwargs: SB3 cannot build this network ({reason})") from None


def _activation(agent: dict[str, Any]) -> str:
    return str(agent["policy_kwargs"]["activation_fn"])


def check_network(agent: dict[str, Any]) -> None:
    """Take a small network through what training does with one, lest that fail once the simulator runs.

    Args:
        agent: PPO's arguments under SB3's names, as plain values.

    Raises:
        ValueError: If it cannot be built, has more than :data:`MOST_WEIGHTS`, or no finite gradients.
    """
    if (weights := count_weights(agent, 1, 1)) > MOST_WEIGHTS:
        raise ValueError(f"policy_kwargs.net_arch should make at most {MOST_WEIGHTS} weights, and makes {weights}")
    space = Box(-1.0, 1.0, (1,))
    policy = build_network(agent, space, space)
    values, log_prob, entropy = policy.evaluate_actions(torch.ones(2, 1), torch.zeros(2, 1))
    (values.sum() + log_prob.sum() + (0.0 if entropy is None else entropy.sum())).backward()
    if not all(weights.grad is not None and weights.grad.isfinite().all() for weights in policy.parameters()):
        raise ValueError("policy_kwargs: no finite gradient reaches every weight")


def count_weights(agent: dict[str, Any], observations: int, actions: int) -> int:
    """Count the weights and biases of the layers, before they are built and take their memory.

    Args:
        agent: PPO's arguments under SB3's names, as plain values.
        observations: Numbers in an observation.
        actions: Numbers in an action.
    """
    layers = (agent.get("policy_kwargs") or {}).get("net_arch")
    if not isinstance(layers, dict):
        layers = dict.fromkeys(("pi", "vf"), SB3_LAYERS if layers is None else layers)
    networks = [observations, *layers["pi"], actions], [observations, *layers["vf"], 1]
    return sum((inputs + 1) * outputs for sizes in networks for inputs, outputs in itertools.pairwise(sizes))


def check_activation(activation: Any) -> None:
    """Refuse what is no activation, which maps numbers of any width to as many, in the same way every time.

    Args:
        activation: What ``torch.nn`` has under the given name.

    Raises:
        ValueError: If it is a loss, a layer, or no module; if it changes the width, draws random numbers, or takes its
            shape from its first input; or if no gradient passes through it.
    """
    if not (isinstance(activation, type) and issubclass(activation, nn.Module)):
        raise ValueError("should be the name of an activation of torch.nn, such as nn.ELU")
    inputs = torch.linspace(-2.0, 2.0, 64).view(8, 8).requires_grad_()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            layer = activation()
            if isinstance(layer, LazyModuleMixin):
                raise ValueError("it takes its shape from its first input")
            outputs, again = layer(inputs), layer(inputs)
            if outputs.shape != inputs.shape:
                raise ValueError("it changes the width of a layer")
            if not torch.equal(outputs, again):
                raise ValueError("it draws random numbers")
            outputs.sum().backward()
    except Exception as error:  # a module may raise anything on what it is not made for
        reason = str(error).partition("\n")[0]
        raise ValueError(f"nn.{activation.__name__} cannot stand between two layers: {reason}") from None

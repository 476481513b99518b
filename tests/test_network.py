"""SB3's networks from plain values: what is an activation, and how many weights there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import nn

from pipeline.policy.network import build_network, check_activation, count_weights
from pipeline.training.agent import EXACT_ACTIVATIONS

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", [*EXACT_ACTIVATIONS, "Softplus", "Mish", "PReLU", "Softmax", "Identity"])
def test_an_activation_is_one(name: str):
    check_activation(getattr(nn, name))


class Detached(nn.Module):
    """Lets no gradient through."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.detach()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (nn.GLU, "nn.GLU cannot stand between two layers: it changes the width"),
        (nn.MSELoss, "missing 1 required positional argument"),
        (nn.AdaptiveAvgPool1d, "missing 1 required positional argument"),
        (nn.RReLU, "it draws random numbers"),
        (nn.Dropout, "it draws random numbers"),
        (nn.LazyBatchNorm1d, "it takes its shape from its first input"),
        (nn.LazyLinear, "missing 1 required positional argument"),
        (nn.Softmax2d, "expected input to be 3D or 4D"),
        (nn.ModuleList, "missing the required"),
        (nn.Transformer, "missing 1 required positional argument"),
        (Detached, "does not require grad"),
        (nn.Parameter, "should be the name of an activation"),
        (nn.functional, "should be the name of an activation"),
        ("nn.ELU", "should be the name of an activation"),
        (None, "should be the name of an activation"),
    ],
)
def test_what_is_none_is_told_why(given: Any, reason: str):
    with pytest.raises(ValueError, match=reason) as error:
        check_activation(given)
    assert "\n" not in str(error.value)


def test_to_ask_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="random"):
        check_activation(nn.Dropout)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "net_arch", [None, [], [5], [4, 3, 2], {"pi": [4], "vf": [6, 3]}, {"pi": [], "vf": [2]}], ids=str
)
def test_the_weights_are_counted_as_sb3_makes_them(net_arch: Any):
    agent = {"policy": "MlpPolicy", "policy_kwargs": {} if net_arch is None else {"net_arch": net_arch}}
    network = build_network(agent, Box(-np.inf, np.inf, (7,)), Box(-1, 1, (2,)))
    made = sum(weights.numel() for name, weights in network.named_parameters() if name != "log_std")
    assert count_weights(agent, 7, 2) == made

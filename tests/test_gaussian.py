"""Our shortcut through SB3's Gaussian policy, against torch's own Gaussian and SB3's own evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.policies import ActorCriticPolicy

from pipeline.ppo.cuda_graphs import Graphed, SideStream
from pipeline.ppo.gaussian import LogProb, evaluate_actions

pytestmark = pytest.mark.unit


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_density_and_its_slopes_are_those_of_torch():
    actions, mean, log_std = numbers(7, 3), numbers(7, 3, seed=1), numbers(3, seed=2)
    weights = numbers(7, seed=3)
    slopes = []
    for own in (True, False):
        given = [tensor.clone().requires_grad_() for tensor in (mean, log_std)]
        if own:
            result = LogProb.apply(actions, *given)
        else:
            result = torch.distributions.Normal(given[0], given[1].exp()).log_prob(actions).sum(dim=1)
        slopes.append([result, *torch.autograd.grad((result * weights).sum(), given)])  # type: ignore[operator]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs)
    given = [mean.requires_grad_(), log_std.requires_grad_()]
    assert torch.autograd.gradcheck(lambda *of: LogProb.apply(actions, *of), given)


@pytest.mark.parametrize("net_arch", [[], [5], {"pi": [4], "vf": [6, 3]}], ids=str)
def test_an_evaluation_of_actions_is_sb3s(net_arch):
    torch.manual_seed(0)
    spaces = Box(-np.inf, np.inf, (4,), np.float32), Box(-1, 1, (2,), np.float32)
    policy = ActorCriticPolicy(*spaces, lambda _: 0.0, net_arch=net_arch)
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-1.0, 0.5]))
    observations, actions = torch.randn(9, 4), torch.randn(9, 2)
    values, log_prob, entropy = evaluate_actions(policy, observations, actions, SideStream("cpu"))
    their_values, their_log_prob, their_entropy = policy.evaluate_actions(observations, actions)
    assert their_entropy is not None
    torch.testing.assert_close(values, their_values.flatten())
    torch.testing.assert_close(log_prob, their_log_prob)
    torch.testing.assert_close(entropy.expand(9), their_entropy)
    sums = []
    for result in ((values, log_prob, entropy), (their_values, their_log_prob, their_entropy[0])):
        total = sum(part.sum() * weight for part, weight in zip(result, (1.0, 2.0, 3.0), strict=True))
        policy.zero_grad()
        total.backward()  # type: ignore[union-attr]
        sums.append([weights.grad.clone() for weights in policy.parameters() if weights.grad is not None])
    assert len(sums[0]) == len(list(policy.parameters()))
    for ours, theirs in zip(*sums, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_on_a_cpu_what_is_to_be_a_graph_is_called_as_it_is_every_time():
    called: list[float] = []

    def function(given: torch.Tensor) -> torch.Tensor:
        called.append(given.item())
        return given + 1

    graphed = Graphed(function, "cpu")
    assert [graphed(torch.tensor(float(number))).item() for number in range(6)] == [1, 2, 3, 4, 5, 6]
    assert called == [0, 1, 2, 3, 4, 5]

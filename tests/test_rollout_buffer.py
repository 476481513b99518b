"""What a rollout keeps of the episodes that ended in it; its estimates are compared with SB3's in test_ppo."""

from __future__ import annotations

import pytest
import torch

from pipeline.ppo.rollout_buffer import TensorRolloutBuffer
from pipeline.simulation.tensor_env import EpisodeEnd

pytestmark = pytest.mark.unit


def test_only_episodes_that_began_at_their_beginning_count_and_the_newest_come_last():
    rollout = TensorRolloutBuffer(3, 2, (1,), (1,), torch.device("cpu"))
    dones = [[True, True], [False, True], [True, False]]
    full = [[False, True], [True, True], [True, True]]
    for step in range(3):
        ended = EpisodeEnd(
            terminated=torch.tensor(dones[step]),
            time_outs=torch.tensor([False, False]),
            final_observations=torch.zeros(2, 1),
            returns=torch.tensor([10.0 * step, 10.0 * step + 1]),
            lengths=torch.tensor([step + 1.0, step + 1.0]),
            full=torch.tensor(full[step]),
        )
        rollout.add_outcome(step, torch.zeros(2), torch.tensor(dones[step]), ended)
    assert rollout.episodes(5) == [{"r": 1.0, "l": 1.0}, {"r": 11.0, "l": 2.0}, {"r": 20.0, "l": 3.0}]
    assert rollout.episodes(2) == [{"r": 11.0, "l": 2.0}, {"r": 20.0, "l": 3.0}]

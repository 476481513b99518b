"""What a training that goes on is given back, value by value, and how it starts afresh."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline.training.optimizer_state import OPTIMIZER_FILE
from pipeline.training.training_state import PROGRESS, start_afresh
from tests.toy_training import ROLLOUT, UPDATES, Training

pytestmark = pytest.mark.unit


def test_what_a_training_that_goes_on_needs_is_in_the_checkpoint(tmp_path: Path):
    training = Training(tmp_path).learn(4 * ROLLOUT)
    files = training.store.read(3 * ROLLOUT)
    values = json.loads(files[PROGRESS])
    assert values["updates"] == 3 * 2  # epochs, as SB3 counts
    assert values["steps_of_the_task"] == 3 * 8
    assert values["normalization_learns"] is True
    assert values["episodes"] == []  # all start afresh every 8 steps, and take ten
    # 48 timesteps after 0, and 48 after that.
    assert [row["timesteps"] for row in values["curve"]] == [48, 96]
    assert values["last_point"] == 96
    # The update at 96 came after the point at 96.
    assert values["next_point"]["train/n_updates"] == 6
    assert values["not_in_next_point"]["train/n_updates"] == ["tensorboard"]
    steps = [tensor for name, tensor in safetensors.torch.load(files[OPTIMIZER_FILE]).items() if name.endswith(".step")]
    assert len(steps) == len(list(training.model.policy.parameters()))
    assert {int(step) for step in steps} == {3 * UPDATES}


def test_all_of_it_is_put_back(tmp_path: Path):
    first, second = Training(tmp_path / "1", every=None).learn(3 * ROLLOUT), Training(tmp_path / "2")
    first.model.env.training = False
    first.task.episodes.extend({"reward": float(number)} for number in range(5))
    first.curve.rows.append({"timesteps": 97, "z": 1.0, "a": 2.0})
    first.model.logger.record("rollout/other", 7.5, exclude=("stdout", "csv"))
    policy = first.policy()
    second.state.restore(policy, policy.files | first.state.files())
    model = second.model
    assert all(torch.equal(weights, policy.weights[name]) for name, weights in model.policy.state_dict().items())
    mine, theirs = (each.model.policy.optimizer.state_dict()["state"] for each in (second, first))
    assert mine.keys() == theirs.keys()
    for number, state in theirs.items():
        assert state.keys() == mine[number].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(mine[number][name], tensor) for name, tensor in state.items())
        assert int(mine[number]["step"]) == 3 * UPDATES
    assert (model.num_timesteps, model._n_updates) == (96, 6)
    assert second.toy.unwrapped.common_step_counter == 3 * 8  # type: ignore[attr-defined]
    assert model.env.training is False
    # 24 steps are two episodes of ten in each of four environments; SB3's window has five.
    assert [episode["l"] for episode in model.ep_info_buffer] == [10.0] * 5
    assert model.ep_info_buffer == first.model.ep_info_buffer
    assert model.ep_info_buffer.maxlen == 5
    assert [episode["reward"] for episode in second.task.episodes] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert second.task.episodes.maxlen == 5
    assert second.curve.rows == first.curve.rows
    assert next(iter(second.curve.rows[-1])) == "timesteps"
    assert second.logging.last_time_trigger == 96
    assert model.logger.name_to_value["rollout/other"] == 7.5
    assert model.logger.name_to_excluded["rollout/other"] == ("stdout", "csv")
    for name in ("obs_rms", "ret_rms"):
        for moment in ("mean", "var", "count"):
            own, other = (getattr(getattr(each.model.env, name), moment) for each in (second, first))
            assert torch.equal(own, other)
            assert own.dtype == torch.float64


def test_a_training_starts_afresh_from_its_seed_and_its_timesteps_alone(tmp_path: Path):
    training = Training(tmp_path)
    model, toy = training.model, training.toy
    model.num_timesteps = 512
    toy.done.clear()
    start_afresh(model)
    expected = int(np.random.SeedSequence([3, 512]).generate_state(1)[0]) // 2
    assert toy.done == [("seed", expected), "reset", "scatter"]
    assert not toy.unwrapped.termination_manager._last_episode_dones.any()  # type: ignore[attr-defined]
    first = model.env.old_obs.clone()
    model.env.venv.reset()
    start_afresh(model)
    assert torch.equal(model.env.old_obs, first)
    torch.testing.assert_close(model._last_obs, model.env.normalize_obs(first))
    seeds = []
    for seed, timesteps in ((3, 512), (3, 1024), (1, 512), (0, 512)):
        model.seed, model.num_timesteps = seed, timesteps
        start_afresh(model)
        seeds += [value for kind, value in filter(lambda done: done[0] == "seed", toy.done)][-1:]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)

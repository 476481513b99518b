"""The command of docs/sharing.md to play a policy in Isaac Lab, with Isaac Lab's own player."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project

pytestmark = pytest.mark.sim

# The program `isaaclab`, but for the loop at its end, which goes on until Ctrl-C. `step` takes an action of the player
# and steps the simulator; what the player has loaded is beside it.
PLAYER = """#!/usr/bin/env python
import inspect
from pathlib import Path
import torch
from isaaclab.__main__ import main
from isaaclab_rl.entrypoints.backends import play_sb3
from pipeline.policy.policy import Policy

def play(step, **_):
    actor = Policy.load(Path("models")).for_inference("cpu")
    for _ in range(20):
        step()
        loaded = inspect.getclosurevars(step).nonlocals
        seen = loaded["env"].get_original_obs()
        ours, (theirs, _) = actor(torch.from_numpy(seen)), loaded["agent"].predict(loaded["obs"], deterministic=True)
        assert torch.allclose(ours, torch.from_numpy(theirs), rtol=1e-4, atol=1e-4), (ours, theirs)
    print("20 steps of", *seen.shape, "observations, at which it acts as the policy")

play_sb3.run_playback = play
main()
"""


def test_isaac_labs_player_loads_the_model_and_acts_as_the_policy(project: Project, tmp_path: Path):
    player = tmp_path / "isaaclab"
    player.write_text(PLAYER)
    player.chmod(0o755)
    command = re.search(r"^    (isaaclab play (?:.*\\\n)*.*)", (ROOT / "docs" / "sharing.md").read_text(), re.MULTILINE)
    assert command
    path = f"{tmp_path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = project.run("bash", "-c", command[1], PATH=path, PYTHONPATH=str(ROOT))
    assert "Loading saved normalization: models/model_vecnormalize.pkl" in result.stdout
    assert "20 steps of 4 4 observations, at which it acts as the policy" in result.stdout
    assert not project.run("git", "status", "--porcelain").stdout

"""The command of docs/sharing.md to play a policy in Isaac Lab, with Isaac Lab's own player."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project

pytestmark = pytest.mark.sim

# `python`, as the command calls it, but for the loop at the player's end, which goes on until Ctrl-C. `step` takes an
# action of the player and steps the simulator; what the player has loaded is beside it.
PYTHON = f"""#!{sys.executable}
import inspect, sys
from pathlib import Path
import torch
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
    print("physics:", type(loaded["env"].unwrapped.cfg.sim.physics).__name__)

play_sb3.run_playback = play
code = sys.argv[2]
del sys.argv[1:3]
exec(code)
"""


def test_isaac_labs_player_loads_the_model_and_acts_as_the_policy(project: Project, tmp_path: Path):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    page = (ROOT / "docs" / "sharing.md").read_text()
    command = re.search(r"^    PLAYER=(?:.+\n)+", page, re.MULTILINE)
    assert command
    path = f"{tmp_path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = project.run("bash", "-c", textwrap.dedent(command[0]), PATH=path, PYTHONPATH=str(ROOT))
    assert "Loading saved normalization: models/model_vecnormalize.pkl" in result.stdout
    assert "20 steps of 4 4 observations, at which it acts as the policy" in result.stdout
    run = next((project.folder / "logs").glob("*_train/run.json")).read_text()
    (physics,) = re.findall(r"^physics: (.+)$", result.stdout, re.MULTILINE)
    assert f'"physics": "{physics}"' in run, "the engine that it was trained on"
    assert not project.run("git", "status", "--porcelain").stdout

"""What spares a start what takes long and serves nothing; the other workarounds run in every test of PhysX."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.unit, pytest.mark.slow]

OPTIMIZE = """
import sys, torch
from pipeline.ppo.workarounds import keep_torchs_compiler_away
if {away}:
    keep_torchs_compiler_away()
weights = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.Adam([weights])
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("away", [True, False])
def test_an_optimizer_imports_torchs_compiler_unless_it_is_kept_away(away):
    output = subprocess.run(
        [sys.executable, "-c", OPTIMIZE.format(away=away)], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == str(not away)


LEARN = """
import sys
from pipeline.ppo.workarounds import keep_torchs_compiler_away
from pipeline.ppo.vec_normalize import TensorNormalize
from pipeline.ppo.ppo import TensorPPO
from tests.toy_env import TensorToy
keep_torchs_compiler_away()
TensorPPO("MlpPolicy", TensorNormalize(TensorToy()), n_steps=4, batch_size=16).learn(16)
print([name for name in ("torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy") if name in sys.modules])
"""


def test_learning_imports_neither_torchs_compiler_nor_its_symbolic_shapes():
    output = subprocess.run([sys.executable, "-c", LEARN], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


STEP = """
import ovphysx
from pipeline.simulation.workarounds import step_physx_on_the_calling_thread
for _ in range({times}):
    step_physx_on_the_calling_thread()
print(ovphysx.PhysXConfig(num_threads=8).num_threads)
"""


@pytest.mark.parametrize(("times", "threads"), [(0, "8"), (1, "0"), (2, "0")])
def test_physx_steps_on_the_calling_thread_whatever_isaac_lab_asks_for(times, threads):
    command = [sys.executable, "-c", STEP.format(times=times)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == threads

"""What keeps torch's compiler away does so, and is still needed; the other workarounds run in every test of PhysX."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

OPTIMIZE = """
import sys, torch
from pipeline.workarounds import keep_torchs_compiler_away
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

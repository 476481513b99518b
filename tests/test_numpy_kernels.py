"""What numpy computes for torch is what torch would, but for the last bits."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.experiment import numpy_kernels
from tests.conftest import ENVIRONMENT, ROOT

pytestmark = pytest.mark.unit

KERNELS: dict[str, Any] = {}
for torch_name, numpy_name in numpy_kernels.FUNCTIONS.items():
    KERNELS |= numpy_kernels._elementwise(torch_name, getattr(np, numpy_name))


def arguments(name: str, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    x = (torch.rand(7, 9, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05).to(dtype)
    if name == "acosh":
        return [x + 1]
    return [x, x.T.contiguous().view(7, 9)] if name == "atan2" else [x]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", numpy_kernels.FUNCTIONS)
def test_a_function_is_torchs(name: str, dtype: torch.dtype):
    given = arguments(name, dtype)
    expected = getattr(torch, name)(*given)
    torch.testing.assert_close(KERNELS[name](*given), expected)
    copies = [tensor.clone() for tensor in given]
    assert KERNELS[f"{name}_"](*copies) is copies[0]
    torch.testing.assert_close(copies[0], expected)
    out = torch.empty(0, dtype=dtype)
    assert KERNELS[f"{name}.out"](*given, out=out) is out
    torch.testing.assert_close(out, expected)


def test_whole_numbers_scalars_and_numbers_without_a_root_are_as_torch_has_them():
    assert KERNELS["sqrt"](torch.tensor([4, 9])).dtype == torch.float32
    assert KERNELS["sqrt"](torch.tensor(2.0)).shape == ()
    assert KERNELS["sqrt"](torch.tensor(-1.0)).isnan()
    assert KERNELS["log"](torch.zeros(1)).tolist() == [-np.inf]
    sides = KERNELS["atan2"](torch.ones(3, 1), torch.ones(1, 2, dtype=torch.float64))
    assert (sides.shape, sides.dtype) == ((3, 2), torch.float64)


@pytest.mark.parametrize(("n", "k", "m"), [(5, 4, 3), (5, 1, 3), (1, 4, 1), (0, 4, 3), (5, 0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_product_is_torchs(n: int, k: int, m: int, dtype: torch.dtype):
    random = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(shape, generator=random).to(dtype) for shape in ((n, k), (m, k), (m,)))
    torch.testing.assert_close(numpy_kernels.product(a, b.T), a @ b.T)
    for weights in ({}, {"beta": 0, "alpha": 2.0}, {"beta": 0.5, "alpha": -1}):
        torch.testing.assert_close(numpy_kernels.add_product(c, a, b.T, **weights), torch.addmm(c, a, b.T, **weights))


def test_registered_they_are_exact_and_autograd_goes_through_them():
    code = """
from pipeline.experiment.numerics import pin_numerics; pin_numerics(1)
import numpy as np, torch
x = (torch.rand(1000) + 0.1).requires_grad_()
root = torch.sqrt(x)
assert (root.detach().numpy() == np.sqrt(x.detach().numpy())).all()
root.sum().backward()
torch.testing.assert_close(x.grad, 0.5 / root)
layer, given = torch.nn.Linear(8, 4), torch.randn(5, 8)
layer(given).sum().backward()
torch.testing.assert_close(layer.weight.grad, given.sum(dim=0).expand(4, 8))
torch.testing.assert_close(layer.bias.grad, torch.full((4,), 5.0))
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, env=ENVIRONMENT, check=True)

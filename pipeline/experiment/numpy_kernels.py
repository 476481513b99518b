"""numpy computes for torch, on the CPU, what no setting of torch makes the same on every machine, or only slowly.

They replace torch's own kernels, so that whatever calls torch gets them: this project, SB3, Isaac Lab, autograd.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

# By torch's names and numpy's.
FUNCTIONS = {
    # MKL's begin with the processor's approximate 1/x or 1/sqrt(x), which AMD and Intel round differently.
    **{"sqrt": "sqrt", "log": "log", "log2": "log2", "log10": "log10"},
    **{"tan": "tan", "atan": "arctan", "asin": "arcsin", "acos": "arccos"},
    # Those of the C library, in float32, which glibc rounds differently since 2.41.
    **{"sinh": "sinh", "cosh": "cosh", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "atan2": "arctan2"},
}


@functools.cache  # which holds the library: torch forgets what it overrides once it is gone
def register() -> torch.library.Library:
    """Put the functions in the place of torch's, in this process."""
    library = torch.library.Library("aten", "IMPL")
    kernels: dict[str, Callable[..., torch.Tensor]] = {"mm": product, "addmm": add_product}
    for name, numpy_name in FUNCTIONS.items():
        kernels |= _elementwise(name, getattr(np, numpy_name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torch, that this overrides something
        for name, kernel in kernels.items():
            library.impl(name, kernel, "CPU", allow_override=True)
    return library


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multiply the matrices ``a`` [n, k] and ``b`` [k, m] with OpenBLAS, up to four times as fast as the exact MKL."""
    if a.shape[1] == 1:
        return a * b
    if a.dtype.itemsize < 4:  # numpy has no bfloat16
        return product(a.float(), b.float()).to(a.dtype)
    return torch.from_numpy(np.matmul(a.detach().numpy(), b.detach().numpy()))


def add_product(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: Any = 1, alpha: Any = 1) -> torch.Tensor:
    """Compute ``beta * c + alpha * (a @ b)``, with ``a`` [n, k], ``b`` [k, m], and ``c`` that broadcasts to [n, m]."""
    result = product(a, b)
    if alpha != 1:
        result.mul_(alpha)
    return result if beta == 0 else result.add_(c, alpha=beta)


def _elementwise(name: str, compute: Callable[..., Any]) -> dict[str, Callable[..., torch.Tensor]]:
    """Build torch's three forms of an elementwise function, by their names: computed in float64, rounded once."""

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        dtype = functools.reduce(torch.promote_types, [tensor.dtype for tensor in tensors])
        if not (dtype.is_floating_point or dtype.is_complex):
            dtype = torch.get_default_dtype()
        wide = torch.promote_types(dtype, torch.float64)
        with np.errstate(all="ignore"):  # torch does not warn of infinities either
            result = compute(*(tensor.detach().to(wide).numpy() for tensor in tensors))
        return torch.from_numpy(np.asarray(result)).to(dtype)

    def in_place(*tensors: torch.Tensor) -> torch.Tensor:
        return tensors[0].copy_(function(*tensors))

    def into(*tensors: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        result = function(*tensors)
        return out.resize_(result.shape).copy_(result)

    return {name: function, f"{name}_": in_place, f"{name}.out": into}

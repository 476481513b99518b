"""Digests of what the stages compute with, operation by operation: where two machines differ, they show in which.

`python -m tests.bits FILE` writes them as JSON. `bits.json` beside this file has those that every machine should give.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.experiment.numerics import pin_numerics

pin_numerics(threads=1)  # before the libraries are imported, as in a stage

import numpy as np  # noqa: E402
import torch  # noqa: E402
import warp as wp  # noqa: E402
from torch.nn import functional  # noqa: E402

from pipeline.evaluation import statistics  # noqa: E402
from pipeline.experiment import numpy_kernels  # noqa: E402
from pipeline.experiment.policy_kwargs import OPTIMIZERS  # noqa: E402
from pipeline.ppo.ppo import TensorPPO  # noqa: E402
from pipeline.ppo.vec_normalize import TensorNormalize  # noqa: E402
from pipeline.training.agent import EXACT_ACTIVATIONS  # noqa: E402
from pipeline.video import encode  # noqa: E402
from tests.toy_env import TensorToy  # noqa: E402

Digests = Iterator[tuple[str, Any]]

FUNCTIONS = (
    "exp",
    "expm1",
    "log1p",
    "tanh",
    "sigmoid",
    "sin",
    "cos",
    "erf",
    "rsqrt",
    "reciprocal",
    *numpy_kernels.FUNCTIONS,
)
PPO_SETTINGS: dict[str, dict[str, Any]] = {
    "SB3's defaults": {},
    **{f"nn.{name}": {"policy_kwargs": {"activation_fn": getattr(torch.nn, name)}} for name in ("ReLU", "ELU", "SiLU")},
    **{name: {"policy_kwargs": {"optimizer_class": getattr(torch.optim, name)}} for name in ("SGD", "AdamW")},
    "gSDE": {"use_sde": True, "sde_sample_freq": 4},
    "clip_range_vf": {"clip_range_vf": 0.2, "normalize_advantage": False, "ent_coef": 0.01},
    "target_kl": {"target_kl": 0.01},
    "without normalisation": {"norm": False},
}


def digest(*values: Any) -> str:
    """Tell values apart by their bytes: tensors, arrays, numbers or bytes."""
    total = hashlib.md5()
    for value in values:
        array = value.detach().numpy() if torch.is_tensor(value) else value
        total.update(array if isinstance(array, bytes) else np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:12]


def torch_products(random: torch.Generator) -> Digests:
    """Layers forwards and backwards, from a single environment to a large mini-batch; LAPACK's QR."""
    for batch in (1, 2, 7, 64, 500, 1024):
        for inputs, outputs in ((4, 32), (32, 32), (32, 1), (64, 64), (256, 128), (5, 400)):
            shapes = ((batch, inputs), (outputs, inputs), (outputs,))
            given = [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]
            result = functional.linear(*given)
            yield f"layer {batch} x {inputs} -> {outputs}", (result, *torch.autograd.grad(result.square().sum(), given))
    matrices = torch.randn(9, 40, 40, generator=random)
    yield "torch.bmm, qr", (torch.bmm(matrices, matrices), *torch.linalg.qr(matrices[0]))


def torch_functions(random: torch.Generator) -> Digests:
    """Functions of single numbers, of tensors of all sizes and both layouts; activations; sums; random numbers."""
    for dtype in (torch.float32, torch.float64):
        x = torch.rand(3000, generator=random, dtype=dtype) * 0.99 + 1e-3
        for name in FUNCTIONS:
            if dtype == torch.float64 and name in ("asinh", "acosh", "atanh"):
                continue  # glibc 2.43 rounds them differently; in float32 it does not show
            values = (x + 1.0,) if name == "acosh" else (x, x.flip(0)) if name == "atan2" else (x,)
            parts = ((), (slice(5),), (slice(0, None, 3),), (0,))
            yield f"torch.{name} {dtype}", [getattr(torch, name)(*(value[part] for value in values)) for part in parts]
        yield f"torch powers {dtype}", (x**1.7, x**3, x ** x.flip(0))
        yield f"torch sums {dtype}", (x.sum(), x.mean(), *torch.var_mean(x), x.norm(), x.view(30, 100).sum(dim=0))
    x = torch.randn(3000, generator=random).requires_grad_()
    for name in EXACT_ACTIVATIONS:
        result = getattr(torch.nn, name)()(x)
        yield f"nn.{name}", (result, *torch.autograd.grad(result.sum(), x))
    torch.manual_seed(3)
    draws = (torch.randn(1000), torch.randn(7), torch.rand(100), torch.randperm(1000), torch.empty(9).exponential_())
    yield "torch random numbers", draws
    yield "torch orthogonal", (torch.nn.init.orthogonal_(torch.empty(64, 32)),)


def torch_optimizers(random: torch.Generator) -> Digests:
    """Optimizers step by step, and fused where they can be."""
    for name in OPTIMIZERS:
        for fused in (False, True):
            weights = [torch.randn(shape, generator=random).requires_grad_() for shape in ((32, 32), (32,))]
            optimizer = getattr(torch.optim, name)(weights, lr=1e-2, fused=fused)
            for _ in range(5):
                for tensor in weights:
                    tensor.grad = torch.randn(tensor.shape, generator=random)
                optimizer.step()
            yield f"{name}{' fused' if fused else ''}", weights


def ppo(_: torch.Generator) -> Digests:
    """Whole trainings, without a simulator."""
    for name, settings in PPO_SETTINGS.items():
        settings = dict(settings)
        normalize = settings.pop("norm", True)
        env: Any = TensorNormalize(TensorToy(), norm_obs=normalize, norm_reward=normalize)  # type: ignore[arg-type]
        model = TensorPPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=3, seed=1, device="cpu", **settings)
        yield f"PPO, {name}", [*model.learn(512).policy.parameters(), env.obs_rms.mean, env.ret_rms.var]


def numpy_and_scipy(_: torch.Generator) -> Digests:
    """What the metrics are made with, and the C library's functions."""
    x = np.random.default_rng(0).random(3000)
    for name in ("sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "arctan", "arcsin", "cbrt"):
        yield f"numpy.{name}", (getattr(np, name)(x),)
    yield "numpy products and sums", (x[:900].reshape(30, 30) @ x[:900].reshape(30, 30), x.sum(), x.std(), np.sort(x))
    yield "bootstrap", (*statistics.bootstrap_interval(x, seed=1), statistics.interquartile_mean(x))
    functions = (math.sin, math.cos, math.tan, math.atan, math.exp, math.log, math.sqrt)
    yield "C library", [function(value) for function in functions for value in x[:300].tolist()]


@wp.kernel
def kernel(x: wp.array(dtype=wp.float32), y: wp.array(dtype=wp.float32)):  # type: ignore[valid-type]
    """What the simulators' kernels and the renderer call."""
    i = wp.tid()
    a = x[i]
    y[i] = wp.sin(a) + wp.cos(a) * wp.sqrt(a) + wp.log(a) * wp.exp(a) + wp.pow(a, 1.7)


def warp(_: torch.Generator) -> Digests:
    """A kernel on the CPU."""
    x = wp.array(np.random.default_rng(0).random(3000, dtype=np.float32), device="cpu")
    y = wp.zeros_like(x)
    wp.launch(kernel, dim=3000, inputs=[x, y], device="cpu")
    yield "Warp kernel", (y.numpy(),)


def pictures(_: torch.Generator) -> Digests:
    """A video that moves everywhere: the easier a picture, the less an encoder has to round."""
    rows, columns = np.mgrid[0:90, 0:160]
    frames = np.stack([np.stack([columns * t, rows * columns + 7 * t, (rows - t) ** 2], -1) for t in range(40)])
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 60, 3))
    frames[:, 30:70, 50:110] = noise
    with tempfile.TemporaryDirectory() as folder:
        for write, name in ((encode.write_mp4, "mp4"), (encode.write_gif, "gif"), (_write_film_strip, "png")):
            write(Path(folder) / name, frames.astype(np.uint8), 15)
            yield name, ((Path(folder) / name).read_bytes(),)


def _write_film_strip(path: Path, frames: np.ndarray, _: int) -> None:
    encode.write_film_strip(path, frames)


GROUPS: tuple[Callable[[torch.Generator], Digests], ...] = (
    *(torch_products, torch_functions, torch_optimizers),
    *(ppo, numpy_and_scipy, warp, pictures),
)


def main() -> None:
    """Write the digests to the file that the command line names."""
    random = torch.Generator().manual_seed(0)
    digests = {name: digest(*values) for group in GROUPS for name, values in group(random)}
    Path(sys.argv[1]).write_text(json.dumps(digests, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""CUDA graphs: the same GPU work again and again, launched at once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

WARM_UP = 3  # calls before the capture, in which cuBLAS and the optimizer allocate what they keep


class Graphed:
    """Calls ``function`` as a CUDA graph on a GPU, and as it is elsewhere.

    The first calls run kernel by kernel. The function takes and returns tensors, and must change in place all that it
    keeps. A graph repeats what the host did at the capture, with the same numbers and branches. On a GPU the next call
    overwrites the tensors that this one returned.
    """

    def __init__(self, function: Callable[..., Any], device: torch.device | str) -> None:
        self.function = function
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._result: Any = None
        # A capture needs a stream of its own, and autograd wants to have seen the warm-up on the same one.
        self._stream = torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Call the function on ``inputs``, whose shapes must be the same at every call."""
        if self._stream is None:
            return self.function(*inputs)
        if self._calls < WARM_UP:
            self._calls += 1
            return self._warm_up(inputs)
        if self._graph is None:
            self._capture(inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        assert self._graph
        self._graph.replay()
        return self._result

    def _warm_up(self, inputs: tuple[torch.Tensor, ...]) -> Any:
        assert self._stream
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = self.function(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def _capture(self, inputs: tuple[torch.Tensor, ...]) -> None:
        self._inputs = tuple(given.clone() for given in inputs)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._result = self.function(*self._inputs)


class SideStream:
    """A context whose work a GPU does at the same time as what follows, until :meth:`join`.

    Small kernels leave most of a GPU idle. Autograd uses the same streams in the backward pass.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._stream = torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None
        self._context = torch.cuda.stream(self._stream)  # of None, it does nothing

    def __enter__(self) -> None:
        if self._stream:
            self._stream.wait_stream(torch.cuda.current_stream())
        self._context.__enter__()

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)

    def join(self) -> None:
        """Let what follows wait for the work of the context."""
        if self._stream:
            torch.cuda.current_stream().wait_stream(self._stream)

"""CUDA graphs: the same GPU work again and again, launched at once instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3  # calls before the capture, in which cuBLAS and the optimizer allocate what they keep


class Graphed:
    """Calls ``function`` as a CUDA graph on a GPU, and as it is elsewhere.

    The function takes nothing and reads and writes tensors that stay where they are; what it returns is overwritten by
    the next call.
    """

    def __init__(self, function: Callable[[], torch.Tensor], device: torch.device) -> None:
        self.function = function
        self.on_gpu = device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> torch.Tensor:
        """Do the work, and return what the function returns."""
        if not self.on_gpu:
            return self.function()
        if self._graph is None:
            self._capture()
        assert self._graph
        self._graph.replay()
        return self._result

    @property
    def ready(self) -> bool:
        """Whether a call needs no :meth:`warm_up` before it."""
        return not self.on_gpu or self._graph is not None

    def warm_up(self) -> None:
        """Call the function a few times, as the capture needs it; the caller restores what that changes."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.function()
        torch.cuda.current_stream().wait_stream(stream)

    def _capture(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = self.function()

"""A change to torch 2.11, for a faster start. It goes when a release mends it."""

from __future__ import annotations


def keep_torchs_compiler_away() -> None:
    """Keep torch's optimizers from importing its compiler, for a second, only to tell it not to compile them."""
    from torch.optim import Optimizer

    for method in vars(Optimizer).values():
        if function := getattr(method, "__wrapped__", None):
            function.__dynamo_disable = function  # where `torch._disable_dynamo` keeps what it has imported it for

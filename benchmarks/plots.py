"""Pictures of the results, for the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display

from matplotlib import pyplot


def plot_throughput(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw steps a second over the number of environments, a line a trainer; the simulation's limit is dashed."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in dict.fromkeys(row["trainer"] for row in rows):
        points = sorted((row["num_envs"], row["steps_per_second"]) for row in rows if row["trainer"] == name)
        style = {"simulation": "--", "ours": "-"}.get(name.partition(",")[0].split()[0], ":")
        axes.plot(*zip(*points, strict=True), style, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="environments", ylabel="steps a second")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=110)


def plot_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the returns in training over timesteps: the median over the seeds, and the range of all."""
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for name in dict.fromkeys(row["trainer"] for row in rows):
        curves = [np.array(row["curve"]) for row in rows if row["trainer"] == name]
        length = min(map(len, curves))
        steps, returns = curves[0][:length, 0], np.stack([curve[:length, 1] for curve in curves])
        axes.plot(steps, np.median(returns, axis=0), label=name)
        axes.fill_between(steps, returns.min(axis=0), returns.max(axis=0), alpha=0.2)
    axes.set(xlabel="timesteps", ylabel="return in training", ylim=(-2, 5))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)

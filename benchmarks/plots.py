"""Pictures of the results, for the README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display

from matplotlib import pyplot


def plot_throughput(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw steps a second over the number of environments, a line a trainer; the simulation's limit is dashed."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name in dict.fromkeys(row["trainer"] for row in rows):
        points = [(row["num_envs"], row["steps_per_second"]) for row in rows if row["trainer"] == name]
        style = {"simulation": "--", "ours": "-"}.get(name.partition(",")[0].split()[0], ":")
        axes.plot(*zip(*points, strict=True), style, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="environments", ylabel="steps a second")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=110)

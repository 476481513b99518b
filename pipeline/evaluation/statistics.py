"""Statistics over episodes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

# Of episodes that the task's own criterion calls a success, or, where it has none, that last to their time limit.
RATES = {"success": "success_rate", "survived": "survival_rate"}


def summarize(rows: list[dict[str, Any]], *, seed: int) -> dict[str, float]:
    """Compute the metrics of the episodes; ``seed`` is that of the bootstrap."""
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    returns = columns["return"]
    low, high = bootstrap_interval(returns, seed=seed)
    metrics = {
        "return_mean": returns.mean(),
        "return_std": returns.std(),
        "return_iqm": interquartile_mean(returns),
        "return_low": low,
        "return_high": high,
        "length_mean": columns["length"].mean(),
    }
    for column, name in RATES.items():
        if column in columns:
            metrics[name] = columns[column].mean()
    if "pole_angle_rms" in columns:
        metrics |= {
            "pole_angle_rms": _over_all_steps(columns, "pole_angle_rms"),
            "cart_displacement_max": columns["cart_displacement_max"].max(),
            "effort_rms": _over_all_steps(columns, "effort_rms"),
        }
    return {name: float(value) for name, value in metrics.items()}


def _over_all_steps(columns: dict[str, np.ndarray], name: str) -> float:
    """Compute the root mean square over the steps of all episodes from that of each episode."""
    return math.sqrt(np.average(columns[name] ** 2, weights=columns["length"]))


def interquartile_mean(values: np.ndarray) -> float:
    """Compute the mean of the middle half of ``values`` (IQM, https://arxiv.org/abs/2108.13264)."""
    return float(stats.trim_mean(values, 0.25))


def bootstrap_interval(values: np.ndarray, *, seed: int) -> tuple[float, float]:
    """Compute the 95% percentile bootstrap interval of the mean of ``values``.

    Percentiles, since SciPy's default method gives NaN where all values are equal, as a solved cartpole's may be.
    """
    if len(values) == 1:
        return float(values[0]), float(values[0])
    result = stats.bootstrap(
        (values,), np.mean, confidence_level=0.95, n_resamples=2000, method="percentile", rng=seed, batch=100
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)

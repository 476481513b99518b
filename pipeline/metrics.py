"""Metrics: finite numbers in JSON and CSV, and the statistics of episode returns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.files import write_atomically, write_json

Row = Mapping[str, Any]


def write_metrics(path: Path, metrics: Row) -> None:
    """Write flat metrics as sorted JSON.

    Raises:
        UserError: If a number is NaN or infinite, which JSON cannot hold and DVC would pass on.
    """
    for name, value in metrics.items():
        _check_finite(path, name, value)
    write_json(path, dict(metrics))


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV, with the columns in the order in which they first appear; absent values stay empty.

    Raises:
        UserError: If a number is NaN or infinite.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for number, row in enumerate(rows, start=1):
        for name, value in row.items():
            _check_finite(path, f"{name} of row {number}", value)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _check_finite(path: Path, name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{path}: {name} is {value}; nothing was recorded: lower ppo.learning_rate or look at the task")


def interquartile_mean(values: np.ndarray) -> float:
    """The mean of the middle half of ``values`` (IQM; Agarwal et al. 2021, "Deep RL at the Edge of the Precipice")."""
    from scipy import stats  # a second that stages without statistics need not wait

    return float(stats.trim_mean(values, 0.25))


def bootstrap_interval(values: np.ndarray, *, seed: int) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the mean of ``values``.

    Percentiles, since SciPy's default method gives NaN where all values are equal, as a solved cartpole's may be.
    """
    from scipy import stats

    if len(values) == 1:
        return float(values[0]), float(values[0])
    result = stats.bootstrap(
        (values,), np.mean, confidence_level=0.95, n_resamples=2000, method="percentile", rng=seed, batch=100
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)

"""Metrics as JSON and CSV: finite numbers, or none."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.experiment.errors import UserError
from pipeline.experiment.files import write_atomically, write_json

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
    """Write rows as CSV, with the columns in the order in which they first appear.

    A value that a row does not have is written as ``nan``. `dvc plots` leaves that out, and draws an empty cell as 0.

    Raises:
        UserError: If a number that a row has is NaN or infinite.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for number, row in enumerate(rows, start=1):
        for name, value in row.items():
            _check_finite(path, f"{name} of row {number}", value)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="nan", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _check_finite(path: Path, name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{path}: {name} is {value}; nothing was recorded: lower ppo.learning_rate or look at the task")

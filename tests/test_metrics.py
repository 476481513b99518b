"""Metrics in files: every bit, and no number that is not finite."""

from __future__ import annotations

import json

import pytest

from pipeline.experiment.errors import UserError
from pipeline.experiment.metrics import write_metrics, write_rows

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_leave_the_old_file(tmp_path, bad):
    path = tmp_path / "train.json"
    write_metrics(path, {"return_mean": 1.0})
    with pytest.raises(UserError, match="return_mean is"):
        write_metrics(path, {"return_mean": bad})
    assert json.loads(path.read_text()) == {"return_mean": 1.0}
    with pytest.raises(UserError, match="return of row 2"):
        write_rows(tmp_path / "rows.csv", [{"return": 1.0}, {"return": bad}])


def test_rows_keep_every_bit_and_what_was_not_measured_is_no_number(tmp_path):
    write_rows(tmp_path / "rows.csv", [{"a": 0.1 + 0.2}, {"a": 1.0, "b": 2}])
    assert (tmp_path / "rows.csv").read_bytes() == b"a,b\n0.30000000000000004,nan\n1.0,2\n"

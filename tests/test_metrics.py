"""Statistics against SciPy and by hand, and files without NaN."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.metrics import bootstrap_interval, interquartile_mean, write_metrics, write_rows

pytestmark = pytest.mark.unit


def test_iqm_is_the_mean_of_the_middle_half():
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, -100.0])) == 1.5


def test_bootstrap_interval_covers_the_mean_of_known_samples_about_95_times_in_100():
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        low, high = bootstrap_interval(random.normal(3.0, 1.0, 60), seed=seed)
        covered += low <= 3.0 <= high
    assert 88 <= covered <= 99


@pytest.mark.parametrize("count", [1, 5])
def test_bootstrap_interval_of_equal_values_is_that_value(count):
    assert bootstrap_interval(np.full(count, 4.9), seed=0) == pytest.approx((4.9, 4.9))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_and_leave_the_old_file(tmp_path, bad):
    path = tmp_path / "train.json"
    write_metrics(path, {"return_mean": 1.0})
    with pytest.raises(UserError, match="return_mean is"):
        write_metrics(path, {"return_mean": bad})
    assert json.loads(path.read_text()) == {"return_mean": 1.0}
    with pytest.raises(UserError, match="return of row 2"):
        write_rows(tmp_path / "rows.csv", [{"return": 1.0}, {"return": bad}])


def test_rows_keep_every_bit_and_leave_absent_values_empty(tmp_path):
    write_rows(tmp_path / "rows.csv", [{"a": 0.1 + 0.2}, {"a": 1.0, "b": 2}])
    assert (tmp_path / "rows.csv").read_bytes() == b"a,b\n0.30000000000000004,\n1.0,2\n"

"""Statistics over episodes, against SciPy's and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.statistics import bootstrap_interval, interquartile_mean

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

"""Statistics over seeds: each run is one sample, however many episodes it was evaluated on.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021,
https://arxiv.org/abs/2108.13264), whose library rliable is archived; SciPy computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95
RESAMPLES = 10_000
ENOUGH = 5  # seeds of a group, below which there are no interval and no verdict


class Estimate(NamedTuple):
    """A value with its 95% interval."""

    value: float
    low: float
    high: float


def interquartile_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Compute the mean of the middle half of the seeds."""
    return stats.trim_mean(values, 0.25, axis=axis)


def estimate(statistic: Callable[..., np.ndarray], *samples: ArrayLike) -> Estimate:
    """Compute ``statistic`` of one or more groups ``[seeds]``, with its percentile bootstrap interval over seeds.

    Percentiles, since SciPy's default method gives NaN where all values are equal. With fewer than five seeds there is
    no interval: that of two would be the two values.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    value = float(statistic(*arrays, axis=-1))
    if min(map(len, arrays)) < ENOUGH:
        return Estimate(value, float("nan"), float("nan"))
    interval = stats.bootstrap(
        arrays, statistic, confidence_level=LEVEL, n_resamples=RESAMPLES, method="percentile", rng=0, vectorized=True
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def difference(ours: np.ndarray, theirs: np.ndarray, axis: int = -1) -> np.ndarray:
    """Compute by how much the mean of ``ours`` is above that of ``theirs``."""
    return np.mean(ours, axis=axis) - np.mean(theirs, axis=axis)


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray, axis: int = -1) -> np.ndarray:
    """Compute how likely a run of ``ours`` is above one of ``theirs``, equal ones counting half.

    That is the Mann-Whitney U over the number of pairs (equation 1 of the paper, for one task).
    """
    ours, theirs = np.moveaxis(ours, axis, -1)[..., :, None], np.moveaxis(theirs, axis, -1)[..., None, :]
    return ((ours > theirs) + 0.5 * (ours == theirs)).mean(axis=(-2, -1))


def p_value(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Compute the two-sided p of a permutation test on the difference of means: exact for few seeds."""
    result = stats.permutation_test(
        (np.asarray(ours), np.asarray(theirs)), difference, n_resamples=RESAMPLES, vectorized=True, rng=0
    )
    return float(result.pvalue)


def adjusted(p_values: list[float]) -> list[float]:
    """Adjust the p of several comparisons, of which the more are made, the more look good by chance.

    By the false discovery rate of Benjamini and Hochberg (https://doi.org/10.1111/j.2517-6161.1995.tb02031.x).
    """
    return stats.false_discovery_control(p_values).tolist() if p_values else []


def rate(hits: int, count: int) -> Estimate:
    """Compute a rate with Wilson's interval (https://doi.org/10.1080/01621459.1927.10502953)."""
    interval = stats.binomtest(hits, count).proportion_ci(LEVEL, method="wilson")
    return Estimate(hits / count, float(interval.low), float(interval.high))


def performance_profile(values: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Compute the share of the seeds that are above each threshold (section 4.2 of the paper): ``[thresholds]``."""
    return (np.asarray(values)[None, :] > np.asarray(thresholds)[:, None]).mean(axis=1)

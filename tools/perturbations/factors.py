"""What ``make robustness`` changes: one factor in each environment, of the cartpole or between it and a policy.

Environments come in groups, one for each value of a factor; the first group has everything as it is.
"""

from __future__ import annotations

from typing import NamedTuple


class Factor(NamedTuple):
    """The value at which a factor changes nothing, and the values that are tried."""

    neutral: float
    values: tuple[float, ...]


FACTORS = {
    "pole mass (times)": Factor(1.0, (0.25, 2.0, 4.0, 8.0)),
    "pole length (times)": Factor(1.0, (0.25, 0.5, 1.5, 2.0)),
    "cart friction (N)": Factor(0.0, (10.0, 20.0, 40.0, 60.0)),
    "pole friction (N m)": Factor(0.0, (0.2, 0.5, 0.7, 1.0)),
    "force (times)": Factor(1.0, (0.25, 0.5, 1.5, 2.0)),
    "action delay (steps)": Factor(0.0, (1.0, 2.0, 3.0, 4.0)),
    "observation noise (m, rad, m/s, rad/s)": Factor(0.0, (0.05, 0.1, 0.2, 0.5)),
    "pushes (m/s, rad/s)": Factor(0.0, (0.25, 0.5, 1.0, 2.0)),
}
MASS, LENGTH, CART_FRICTION, POLE_FRICTION, FORCE, DELAY, NOISE, PUSH = FACTORS
NOMINAL = "nominal"
# A factor and its value, that of each group of environments.
GROUPS = [(NOMINAL, 0.0), *((name, value) for name, factor in FACTORS.items() for value in factor.values)]

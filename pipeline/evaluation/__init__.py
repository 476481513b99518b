"""Evaluation of a policy: full episodes, and the statistics of their results."""

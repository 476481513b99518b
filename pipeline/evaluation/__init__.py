"""Evaluation of a policy: whole episodes, and the statistics of their results."""

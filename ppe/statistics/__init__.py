"""Metrics, intervals, permutation tests, agreement, and distances between sets, with the identity as the unit."""

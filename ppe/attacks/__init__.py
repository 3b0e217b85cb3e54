"""Membership attacks: scores, the queries that they rank, exact search, and the tuning of their constants."""

"""Audit of a generator that exists: generated faces, people to ask about, control people; p-values, power and a report."""

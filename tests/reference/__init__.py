"""Naive float64 twins: NumPy and SciPy only, written for clarity, never shipped."""

"""NumPy and SciPy only: noise scale, equivalent schedules, comparison of curves."""

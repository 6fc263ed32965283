"""Groups of measured runs: brought onto one clock, compared, the comparison itself tried out."""

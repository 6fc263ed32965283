"""Numbers in sentences."""


def with_error(value: float, stderr: float | None) -> str:
    """value ± stderr in three digits."""
    return f"{value:.3g}" if stderr is None else f"{value:.3g} ± {stderr:.2g}"

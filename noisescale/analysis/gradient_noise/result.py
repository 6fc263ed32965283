"""Results as strict JSON, and numbers in sentences."""

from dataclasses import fields
from math import isfinite
from typing import Any

import numpy as np


def document(result: Any) -> dict[str, Any]:
    """A dataclass as what strict JSON holds: no NaN or infinity (null), no NumPy types."""
    return {field.name: _plain(getattr(result, field.name)) for field in fields(result)}


def with_error(value: float, stderr: float | None) -> str:
    """value ± stderr in three digits."""
    return f"{value:.3g}" if stderr is None else f"{value:.3g} ± {stderr:.2g}"


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value

"""Results as strict JSON."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np


def document(result: Any) -> dict[str, Any]:
    """A dataclass as what strict JSON holds: no NaN or infinity (null), no NumPy types."""
    return {field.name: plain(getattr(result, field.name)) for field in fields(result)}


def plain(value: Any) -> Any:
    """Lists, texts and numbers as strict JSON knows them; None for what is not finite."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return document(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Fraction):
        return plain(float(value))
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value

"""Learning rates by their textbook formulas, one time at a time."""

from math import cos, pi, sqrt


def examples(duration: dict, train_size: int, batch: int) -> float:
    """{"epochs": E}, {"updates": U} or {"examples": n} in examples."""
    ((unit, amount),) = duration.items()
    return amount * {"epochs": train_size, "updates": batch, "examples": 1}[unit]


def rate(shape: dict, seen: float, length: float, train_size: int, batch: int) -> float:
    """ε after `seen` of `length` examples of a shape given as in a recipe."""
    kind, top = shape["shape"], shape["start"]
    warmup = dict(shape.get("warmup") or {})
    low = warmup.pop("start", 0.0)
    warm = examples(warmup, train_size, batch) if warmup else 0.0
    if seen < warm:
        return low + (top - low) * seen / warm
    x, end = (seen - warm) / (length - warm), shape.get("end", 0.0)
    if kind == "constant":
        return top
    if kind == "step":
        ((unit, times),) = shape["milestones"].items()
        drops = sum(seen >= examples({unit: m}, train_size, batch) for m in times)
        return top / shape["factor"] ** drops
    if kind == "linear":
        return top + (end - top) * x
    if kind == "cosine":
        return end + (top - end) * (1 + cos(pi * x)) / 2
    if kind == "exponential":
        return top * (end / top) ** x
    if kind == "polynomial":
        return (top - end) * (1 - x) ** shape.get("power", 1.0) + end
    if kind == "inverse-sqrt":
        scale = examples(shape["timescale"], train_size, batch) if "timescale" in shape else warm
        return top * sqrt(scale / (scale + seen - warm))
    last = examples(shape["decay"], train_size, batch)
    if seen < length - last:
        return top
    y = (seen - (length - last)) / last
    form = shape.get("decay_form", "linear")
    if form == "linear":
        return top + (end - top) * y
    if form == "cosine":
        return end + (top - end) * (1 + cos(pi * y)) / 2
    if form == "exponential":
        return top * (end / top) ** y
    return top - (top - end) * sqrt(y)

"""Which optional packages a command needs."""

from collections.abc import Sequence

from noisescale.cli import fail

TRAIN = ("jax", "equinox", "jaxtyping", "optax", "sklearn")


def need(command: str, packages: Sequence[str] = TRAIN, extra: str = "train") -> None:
    """End with one line and exit code 1 if a package is not installed."""
    from importlib.util import find_spec

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        fail(f"{command} needs {', '.join(missing)}: pip install 'noisescale[{extra}]'", 1)

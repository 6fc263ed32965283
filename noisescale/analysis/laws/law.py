"""Growth laws D(x), as curves of ln D against u = ln x whose parameters stay regular.

A law is fitted in working parameters: the first is ln D at a reference point, and the special
cases in which a law turns into a simpler one lie inside their range, not at infinity.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The working parameter of a limit stays this far inside the law.
INSIDE = 1e-5


@dataclass(frozen=True, slots=True)
class Law(ABC):
    """A law on a window of u = ln x.

    Args:
        first, last: ln x at the ends of the window, to which working parameters refer.
    """

    first: float
    last: float

    name: ClassVar[str]
    names: ClassVar[tuple[str, ...]]
    formula: ClassVar[str]
    # The working parameter with a range (lowest, highest) in which the law holds, if any.
    bounded: ClassVar[int | None] = None
    lowest: ClassVar[float] = -np.inf
    highest: ClassVar[float] = np.inf
    # Parameters that the data then bound on one side only, with their limits.
    at_lowest: ClassVar[Mapping[str, float]] = {}
    at_highest: ClassVar[Mapping[str, float]] = {}

    @property
    def span(self) -> float:
        """Width of the window in ln x."""
        return self.last - self.first

    @property
    def middle(self) -> float:
        """ln x at the middle of the window."""
        return (self.first + self.last) / 2

    @property
    def size(self) -> int:
        """How many parameters are fitted."""
        return len(self.names)

    @abstractmethod
    def curve(self, phi: Array, u: Array) -> tuple[Array, Array]:
        """(ln D, its derivatives (n, parameters)) at u; not finite outside the law's domain."""

    @abstractmethod
    def candidates(self, slope: float) -> Sequence[Sequence[float]]:
        """Working parameters without the first to start from; `slope` is that of ln D in u."""

    @abstractmethod
    def natural(self, phi: Array) -> Array:
        """The law's parameters, in the order of `names`."""

    @abstractmethod
    def scales(self, phi: Array) -> Array:
        """Functions of the parameters, one each, whose errors are nearest to normal."""

    @abstractmethod
    def unscaled(self, scale: Array, phi: Array) -> Array:
        """Parameters from values of `scales`; a value past a limit gives the limit."""


def outside(u: Array, parameters: int) -> tuple[Array, Array]:
    """What a curve returns outside the law's domain."""
    return np.full(len(u), np.nan), np.full((len(u), parameters), np.nan)

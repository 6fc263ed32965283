"""A learning rate as monotone functions of the examples seen, one after the other."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch on which the learning rate is one monotone function of the examples seen.

    With x = (t − origin)/length in [0, 1], from a = `first` to b = `last`:
        linear a + (b−a)x; cosine b + (a−b)(1+cos πx)/2; exponential a (b/a)^x;
        polynomial b + (a−b)(1−x)^p; sqrt a + (b−a)√x; inverse-sqrt a √(τ/(τ+x·length)).

    Args:
        begin, end: where it is in force, in examples from the start of the phase.
        origin, length: of the whole function, which may reach beyond.
        parameter: p of polynomial, τ of inverse-sqrt (in examples), else 0.
    """

    begin: Fraction
    end: Fraction
    origin: Fraction
    length: Fraction
    form: str
    first: float
    last: float
    parameter: float = 0.0

    def at(self, times: ArrayLike) -> NDArray[np.float64]:
        """The learning rate at these times, in examples from the start of the phase."""
        t = np.asarray(times, dtype=np.float64)
        a, b = self.first, self.last
        if self.form == "constant":
            return np.full(t.shape, a)
        length = float(self.length)
        passed = np.clip(t - float(self.origin), 0.0, length)
        if self.form == "inverse-sqrt":
            return a * np.sqrt(self.parameter / (self.parameter + passed))
        x = passed / length
        # What is left, on its own: 1 − x would lose the digits of a rate close to its end.
        left = np.clip(float(self.origin + self.length) - t, 0.0, length) / length
        if self.form == "linear":
            return a * left + b * x
        if self.form == "cosine":
            return b + (a - b) * np.sin(np.pi / 2 * left) ** 2
        if self.form == "exponential":
            return a * (b / a) ** x
        if self.form == "polynomial":
            return b + (a - b) * left**self.parameter
        assert self.form == "sqrt", self.form
        return a + (b - a) * np.sqrt(x)

    def time_at(self, value: float) -> float:
        """The time at which a piece that is not constant passes `value`."""
        a, b, length = self.first, self.last, float(self.length)
        if self.form == "inverse-sqrt":
            return float(self.origin) + self.parameter * ((a / value) ** 2 - 1.0)
        share = min(max((a - value) / (a - b), 0.0), 1.0)
        if self.form == "linear":
            x = share
        elif self.form == "cosine":
            x = 1.0 - float(2 / np.pi * np.arcsin(np.sqrt(1.0 - share)))
        elif self.form == "exponential":
            x = float(np.log(value / a) / np.log(b / a))
        elif self.form == "polynomial":
            x = 1.0 - (1.0 - share) ** (1.0 / self.parameter)
        else:
            x = share**2
        return float(self.origin) + length * x

    @property
    def start_value(self) -> float:
        """The learning rate at `begin`."""
        return self.first if self.begin == self.origin else float(self.at(float(self.begin)))

    @property
    def end_value(self) -> float:
        """The learning rate at `end`."""
        whole = self.end == self.origin + self.length and self.form != "inverse-sqrt"
        return self.last if whole else float(self.at(float(self.end)))

    @property
    def falls(self) -> bool:
        """Whether the learning rate falls along the piece."""
        return self.form == "inverse-sqrt" or self.last < self.first


def constant_piece(rate: float, length: Fraction) -> Piece:
    """One learning rate over [0, length]."""
    return Piece(Fraction(0), length, Fraction(0), length, "constant", rate, rate)


def whole_piece(
    begin: Fraction, end: Fraction, form: str, first: float, last: float, parameter: float = 0.0
) -> Piece:
    if first == last:
        form, parameter = "constant", 0.0
    return Piece(begin, end, begin, end - begin, form, first, last, parameter)


def window(pieces: list[Piece], skip: Fraction, length: Fraction) -> tuple[Piece, ...]:
    """The part [skip, skip + length] on a clock that begins at skip; its end is filled up."""
    found = []
    for number, piece in enumerate(pieces):
        begin, end = piece.begin - skip, piece.end - skip
        if number == len(pieces) - 1:
            end = max(end, length)
        low, high = max(begin, Fraction(0)), min(end, length)
        if low < high:
            found.append(
                Piece(
                    low,
                    high,
                    piece.origin - skip,
                    piece.length,
                    piece.form,
                    piece.first,
                    piece.last,
                    piece.parameter,
                )
            )
    return tuple(found)

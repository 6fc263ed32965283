"""The numbers of the verdict, from arms on the times that all share."""

from collections.abc import Sequence
from math import log, log10

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.walk.arms import Arm
from noisescale.analysis.walk.collapse import ClockScore, collapse
from noisescale.analysis.walk.estimates import (
    Curve,
    Number,
    curve,
    number,
    spread,
    weights_without_one,
)
from noisescale.analysis.walk.evidence import ArmEvidence, Evidence, NormEvidence
from noisescale.analysis.walk.exponents import at_times, common_times, local_slope, slope
from noisescale.analysis.walk.trajectory import FEWEST_TIMES
from noisescale.analysis.walk.two_time import octaves

Array = NDArray[np.float64]

# Momentum's start from rest lasts some 1/(1 − m) updates; after ten of them it is 15 % of V. Arms
# of one momentum lose it alike, and the last decade of their times begins well after it.
_START, _START_MIXED = 3, 10
# Slopes of curves are taken over a factor of three in time.
_REACH = 0.55
# The verdict looks at the last decade of the common times.
_WINDOW = 10.0


class Measured:
    """Arms on the times that all share, means of all seeds and without one each in every array.

    Args:
        arms: those with noise, noisiest first.
        full: the full batch, or None.
    """

    def __init__(self, arms: Sequence[Arm], full: Arm | None) -> None:
        self.arms, self.full = list(arms), full
        self.weights = weights_without_one(arms[0].square.shape[0])
        every = [*arms] if full is None else [*arms, full]
        mixed = len({arm.momentum for arm in every}) > 1
        self.first = [_start(arm, mixed) for arm in arms]
        self.time = common_times(
            [arm.time[j:] for arm, j in zip(arms, self.first, strict=True)]
            + ([] if full is None else [full.time[_start(full, mixed) :]])
        )
        self.enough = len(self.time) >= FEWEST_TIMES

    def at(self, arm: Arm, values: Array) -> Array:
        """(1 + S, n) on the common times, of (S, n of the arm)."""
        return at_times(arm.time, self.weights @ values, self.time)

    def late(self) -> NDArray[np.bool_]:
        return np.asarray(self.time >= self.time[-1] / _WINDOW * (1 - 1e-9))


def _start(arm: Arm, mixed: bool) -> int:
    lag = (_START_MIXED if mixed else _START) * arm.momentum / (1 - arm.momentum)
    return min(int(np.searchsorted(arm.update, lag)), len(arm.update) - FEWEST_TIMES)


def evidence_of(measured: Measured, *, margin: float, level: float) -> Evidence:
    """All numbers, from at least two seeds and enough common times."""
    arms, time, late = measured.arms, measured.time, measured.late()
    x = np.log(time)
    squares = [measured.at(arm, arm.square) for arm in arms]
    noises = _positive([None if a.noise is None else measured.at(a, a.noise) for a in arms])
    excess = _positive([_excess(measured, arm) for arm in arms])
    full = None if measured.full is None else measured.at(measured.full, measured.full.square)
    logs = [np.log(s) / 2 for s in squares]
    found = tuple(
        _arm_evidence(measured, k, squares[k], noises, excess, full, level)
        for k in range(len(arms))
    )
    temperature = np.log([arm.temperature for arm in arms])

    def across(curves: list[Array] | None) -> Number | None:
        if curves is None or np.ptp(temperature) == 0:
            return None
        return number(_across(temperature, curves)[:, late].mean(axis=1), level)

    def over_arms(values: list[Array] | None) -> Number | None:
        return None if values is None else number(np.mean(values, axis=0), level)

    batch_curve = None
    if np.ptp(temperature) > 0:
        batch_curve = curve("batch exponent", time, _across(temperature, logs), level)
    own = [np.log(measured.weights @ arm.square) / 2 for arm in arms]
    scores: tuple[ClockScore, ...] = ()
    if len(arms) > 1:
        scores = collapse(arms, own, measured.first, margin=margin, level=level)
    slopes_of_noise = None
    if noises is not None:
        slopes_of_noise = [slope(x[late], np.log(v[:, late]) / 2) for v in noises]
    share = None
    if noises is not None:
        j = int(np.argmax(late))
        share = [_growth_share(s, v, j) for s, v in zip(squares, noises, strict=True)]
    return Evidence(
        decades=log10(time[-1] / time[0]),
        ratio=float(np.exp(np.ptp(temperature))),
        window=(float(time[late][0]), float(time[-1])),
        arms=found,
        batch_exponent=across(logs),
        noise_batch_exponent=across(None if noises is None else [np.log(v) / 2 for v in noises]),
        excess_batch_exponent=across(None if excess is None else [np.log(v) / 2 for v in excess]),
        odds_exponent=_odds_exponent(temperature, excess, noises, level),
        noise_exponent=over_arms(slopes_of_noise),
        uncorrelated=over_arms(_all([_uncorrelated(measured, arm) for arm in arms])),
        growth_share=over_arms(share),
        norms=_norm_evidence(measured, squares, temperature, level),
        collapse=scores,
        drift_curves=tuple(
            _share_curve(measured, arm, s, v, level)
            for arm, s, v in zip(arms, squares, noises or [], strict=False)
        ),
        time_curves=tuple(
            curve(_name(arm), time, local_slope(x, y, _REACH), level)
            for arm, y in zip(arms, logs, strict=True)
        ),
        batch_curve=batch_curve,
        memory_curves=tuple(
            c for c in (_memory_curve(measured, arm, level) for arm in arms) if c is not None
        ),
        ageing_curves=tuple(
            c for c in (_ageing_curve(measured, arm, level) for arm in arms) if c is not None
        ),
    )


def _name(arm: Arm) -> str:
    return f"B = {arm.batch_size}"


def _all(values: list[Array | None]) -> list[Array] | None:
    known = [v for v in values if v is not None]
    return known if len(known) == len(values) else None


def _positive(values: list[Array | None]) -> list[Array] | None:
    """All of them, if every one is there and above 0."""
    known = _all(values)
    return None if known is None or any(v.min() <= 0 for v in known) else known


def _across(temperature: Array, curves: list[Array]) -> Array:
    return slope(temperature, np.moveaxis(np.array(curves), 0, -1))


def _excess(measured: Measured, arm: Arm) -> Array | None:
    if arm.excess is None:
        return None
    time, values = arm.excess
    if time[0] > measured.time[0] * (1 + 1e-9) or time[-1] < measured.time[-1] * (1 - 1e-9):
        return None
    return at_times(time, measured.weights @ values, measured.time)


def _odds_exponent(
    temperature: Array, excess: list[Array] | None, noises: list[Array] | None, level: float
) -> Number | None:
    """By least squares weighted with each arm's own error, over arms whose odds are positive."""
    if excess is None or noises is None:
        return None
    odds = np.array([x[:, -1] / v[:, -1] - 1 for x, v in zip(excess, noises, strict=True)])
    known = np.all(odds > 0, axis=1)
    if known.sum() < 2 or np.ptp(temperature[known]) == 0:
        return None
    logs = np.log(odds[known]).T
    weights = 1 / np.maximum(spread(logs), 1e-3) ** 2
    centred = temperature[known] - np.average(temperature[known], weights=weights)
    return number(logs @ (weights * centred) / np.sum(weights * centred**2), level)


def _growth_share(square: Array, noise: Array, start: int) -> Array:
    """1 − (V_2 − V_1)/(D_2² − D_1²)."""
    return 1 - _ratio(noise[:, -1] - noise[:, start], square[:, -1] - square[:, start])


def _ratio(part: Array, whole: Array) -> Array:
    """Of growths; infinite or not a number where nothing grew, so that no condition holds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(part / whole)


def _sketch_error(share: Array, arm: Arm) -> Array:
    """Of a share q whose drift has the same direction in all seeds: q (1 − q) √(2/p)."""
    return np.asarray(share * (1 - share) * (np.sqrt(2 / arm.numbers) if arm.numbers else 0.0))


def _share_curve(measured: Measured, arm: Arm, square: Array, noise: Array, level: float) -> Curve:
    q = 1 - noise / square
    return curve(_name(arm), measured.time, q, level, _sketch_error(q[0], arm))


def _uncorrelated(measured: Measured, arm: Arm) -> Array | None:
    """1 + 2 E (δ_n − δ_j)·δ_j/E |δ_n − δ_j|² = (V_n − V_j)/Δ², j half a decade before the end."""
    if arm.later is None:
        return None
    j = int(np.argmin(np.abs(np.log(arm.time[-1] / arm.time) - log(10) / 2)))
    square, cross = (measured.weights @ arm.later[:, k, j] for k in (0, 1))
    return None if square.min() <= 0 else 1 + 2 * cross / square


def _memory_curve(measured: Measured, arm: Arm, level: float) -> Curve | None:
    if arm.later is None:
        return None
    square, cross = (measured.weights @ arm.later[:, k, :-1] for k in (0, 1))
    if square.min() <= 0:
        return None
    return curve(_name(arm), arm.time[:-1], 1 + 2 * cross / square, level)


def _ageing_curve(measured: Measured, arm: Arm, level: float) -> Curve | None:
    if arm.spreading is None:
        return None
    after, before = (measured.weights @ arm.spreading[:, k] for k in (0, 1))
    if before.size == 0 or before.min() <= 0:
        return None
    return curve(_name(arm), arm.time[octaves(arm.time)[0]], after / before, level)


def _arm_evidence(
    measured: Measured,
    k: int,
    square: Array,
    noises: list[Array] | None,
    excess: list[Array] | None,
    full: Array | None,
    level: float,
) -> ArmEvidence:
    arm, late = measured.arms[k], measured.late()
    x = np.log(measured.time[late])
    start = int(np.argmax(late))
    noise = None if noises is None else noises[k]
    beyond = None if excess is None else excess[k]
    share = growth = None
    if noise is not None:
        q = (1 - noise / square)[:, -1]
        share = number(q, level, float(_sketch_error(q[0], arm)))
        growth = number(_growth_share(square, noise, start), level)
    follows = None
    if full is not None:
        grown = square[:, -1] - square[:, start]
        follows = number(_ratio(full[:, -1] - full[:, start], grown), level)
    return ArmEvidence(
        drift_share=share,
        growth_share=growth,
        full_growth=follows,
        full_ratio=None if full is None else number(np.sqrt(full / square)[:, -1], level),
        time_exponent=number(slope(x, np.log(square[:, late]) / 2), level),
        noise_exponent=None
        if noise is None
        else number(slope(x, np.log(noise[:, late]) / 2), level),
        excess_exponent=None
        if beyond is None
        else number(slope(x, np.log(beyond[:, late]) / 2), level),
        excess_overlap=None
        if beyond is None or noise is None
        else number((1 - noise / beyond)[:, -1], level),
        uncorrelated=None if (u := _uncorrelated(measured, arm)) is None else number(u, level),
    )


def _norm_evidence(
    measured: Measured, squares: list[Array], temperature: Array, level: float
) -> NormEvidence | None:
    arms, late = measured.arms, measured.late()
    if any(arm.norms is None for arm in arms):
        return None
    norms = [
        np.array([measured.at(arm, arm.norms[:, i]) for i in range(4)])
        for arm in arms
        if arm.norms is not None
    ]
    hot = norms[0]
    if any(n[:2, :, late].min() <= 0 for n in norms):
        return None
    x = np.log(measured.time[late])
    quartic = [np.log(n[1][:, late]) for n in norms]
    step = None
    if np.all(np.isfinite(hot[3])) and np.ptp(np.log(hot[2] + hot[0])) > 0:
        step = number(slope(np.log(hot[2] + hot[0]), np.log(hot[3])), level)
    return NormEvidence(
        growth=number((hot[0] / hot[2])[:, -1], level),
        time_slope=number(np.mean([slope(x, q) for q in quartic], axis=0), level),
        temperature_slope=number(
            _across(temperature, quartic).mean(axis=1) if len(arms) > 1 else np.full(2, np.nan),
            level,
        ),
        square_slope=number(slope(x, np.log(hot[0][:, late])), level),
        geometry=number((squares[0] / hot[0])[:, -1], level),
        step=step,
    )

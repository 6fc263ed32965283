"""Verdicts on pairs of groups: corrected over claims, with diverged runs in view, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from noisescale.analysis.comparison import FEWEST_SEEDS, holm
from noisescale.analysis.run_groups.cases import Case
from noisescale.analysis.run_groups.results import (
    Divergence,
    PairComparison,
    QuantityVerdict,
    Verdict,
)

_VERDICTS: dict[str, Verdict] = {"supported": "same", "contradicted": "different"}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two groups judged, before the corrections for several claims.

    Args:
        n: runs in each, diverged ones included.
        cases: the deciding quantity first; empty if all runs of a group diverged.
        shared: see `PairComparison.shared_until`.
    """

    names: tuple[str, str]
    n: tuple[int, int]
    cases: tuple[Case, ...]
    divergence: Divergence | None
    paired: bool
    shared: float | None
    notes: tuple[str, ...]


def corrected(pairs: Sequence[Pair], level: float, plan: bool) -> list[PairComparison]:
    """Verdicts after Holm's correction: over the groups for what decides, over all for the rest."""
    deciding = holm(
        [_nearer(pair.cases[0]) for pair in pairs if pair.cases]
        + [pair.divergence.p_value for pair in pairs if pair.divergence]
    )
    others = holm([_nearer(case) for pair in pairs for case in pair.cases[1:]])
    lowest = [float(case.scan.min()) for pair in pairs for case in pair.cases]
    scanned = holm(lowest)
    main, rest, scans = iter(deciding), iter(others), iter(scanned)
    primary = [next(main) if pair.cases else 1.0 for pair in pairs]
    diverged = [next(main) if pair.divergence else 1.0 for pair in pairs]
    done = []
    for pair, p_primary, p_diverged in zip(pairs, primary, diverged, strict=True):
        p_values = [p_primary, *(next(rest) for _ in pair.cases[1:])]
        verdicts = tuple(
            _verdict(case, p, next(scans), level, len(lowest))
            for case, p in zip(pair.cases, p_values, strict=False)
        )
        done.append(_pair_result(pair, verdicts, p_diverged, level, plan))
    return done


def _nearer(case: Case) -> float:
    return min(case.judgement.p_supported, case.judgement.p_contradicted)


def _verdict(case: Case, p: float, scanned: float, level: float, claims: int) -> QuantityVerdict:
    j = case.judgement
    verdict, reason = _VERDICTS.get(j.verdict, "undecided"), j.reason
    if verdict != "undecided" and p > level:
        verdict, reason = "undecided", f"not decided among several claims (Holm: p = {p:.2g})"
    if case.margin < 0:
        verdict = "undecided"
        reason = "the positive control is not told from the reference, so no margin follows"
    parts_at = None
    if scanned <= level:
        lowest = float(case.scan.min())
        factor = scanned / lowest if lowest > 0 else float(claims)
        parts_at = float(case.aligned.times[np.argmax(case.scan * factor <= level)])
    scale: Literal["log", "linear"] = "log" if case.log_scale else "linear"
    return QuantityVerdict(
        quantity=case.quantity,
        verdict=verdict,
        reason=reason,
        scale=scale,
        margin=case.margin if case.margin > 0 else None,
        effect=j.effect,
        interval=j.interval,
        at=float(case.points[-1] if j.epoch is None else j.epoch),
        n=j.n,
        seeds_needed=j.seeds_needed,
        correlation=j.correlation if case.window.matched else None,
        p_same=j.p_supported,
        p_different=j.p_contradicted,
        p_adjusted=p,
        parts_at=parts_at,
        points=tuple(case.points.tolist()),
        common_range=case.aligned.ends,
        interpolated=case.aligned.interpolated,
    )


def _pair_result(
    pair: Pair,
    verdicts: tuple[QuantityVerdict, ...],
    p_diverged: float,
    level: float,
    plan: bool,
) -> PairComparison:
    verdict: Verdict = "undecided"
    reason = "all runs of a group diverged, which may be chance at so few runs"
    calibration = curves = None
    if verdicts:
        main, case = verdicts[0], pair.cases[0]
        verdict, reason = main.verdict, _because(main, pair, case.window.clock)
        calibration = case.calibration() if plan else None
        curves = case.curves()
    if pair.divergence is not None:
        lost = f"{pair.divergence.other} of {pair.n[1]} runs of {pair.names[1]} diverged, "
        lost += f"{pair.divergence.reference} of {pair.n[0]} of {pair.names[0]}"
        if p_diverged <= level:
            verdict, reason = "different", f"{lost} (p = {p_diverged:.2g})"
        elif verdict == "same":
            verdict, reason = "undecided", f"{lost}; those that did not agree within the margin"
    parted = [(v.parts_at, v.quantity) for v in verdicts if v.parts_at is not None]
    return PairComparison(
        reference=pair.names[0],
        other=pair.names[1],
        n=pair.n,
        verdict=verdict,
        reason=reason,
        quantities=verdicts,
        parts_at=min(parted, default=None),
        paired=pair.paired,
        shared_until=pair.shared,
        divergence=pair.divergence,
        calibration=calibration,
        curves=curves,
        notes=pair.notes,
    )


def _because(main: QuantityVerdict, pair: Pair, clock: str) -> str:
    """One sentence behind a verdict on the deciding quantity."""
    apart = f"{main.effect:+.4g}"
    if main.scale == "log":
        apart = f"{100 * np.expm1(main.effect):+.3g} %"
    where = f"{main.quantity} of {pair.names[1]} minus {pair.names[0]} is {apart} at {clock} "
    where += f"{main.at:g}"
    if main.n == 1:
        return (
            f"one run in a group has no spread, so neither same nor different can be said; {where}"
        )
    if main.n < FEWEST_SEEDS or main.verdict == "undecided":
        return f"{main.reason}; {where}"
    if main.verdict == "same":
        return f"within the margin at all {len(main.points)} points; the least favourable: {where}"
    return f"beyond the margin: {where}"

"""From the numbers to one of five words."""

from collections.abc import Callable, Mapping
from typing import Literal

from noisescale.analysis.walk.conditions import Check, above, below, shown, within
from noisescale.analysis.walk.evidence import Evidence

Verdict = Literal["drift", "free diffusion", "trapping", "norm growth", "undecided"]

# A mechanism has the way, or the growth, to itself from this share on.
_MOST, _LITTLE = 0.8, 0.2
# Full batch over an arm: its growth, its distance.
_LEAST_LIKE, _MOST_LIKE = 0.8, 1.25
# Growth of ln D per ln t below which nothing is growing.
_STILL = 0.03
# Around an exponent of ½ (of one arm: its value alone), 1/M of 1, a slope of 1, a step exponent
# of −1, and a batch exponent of 0.
_HALF, _HALF_OF_ARM, _UNCORRELATED, _ONE, _STEP, _ZERO = 0.1, 0.06, 0.15, 0.15, 0.35, 0.1
# Smallest growth of |w|² that tells a walk of growing norm from a free one.
_LEAST_NORM_GROWTH = 0.2
# Least exponent of θ of the excess over the full batch, and least share of it that replicas have
# in common: none in any world in which noise acts linearly.
_LEAST_NOISY, _SHARED = 0.3, 0.15
# A drift induced by noise is ∝ θ, and the odds of its share of the excess too; valleys keep it.
_MOST_ODDS = 0.5
# Without the full batch the lowest temperature stands for it, if it is lower by this factor.
_COLD = 16.0


def decide(e: Evidence) -> tuple[Verdict, str, list[str]]:
    """The verdict, its reason, and what would decide if it is open."""
    asked: Mapping[Verdict, Callable[[Evidence], list[Check]]] = {
        "drift": _drift,
        "norm growth": _norm_growth,
        "free diffusion": _free_diffusion,
        "trapping": _trapping,
    }
    failed: dict[Verdict, list[Check]] = {}
    for verdict, ask in asked.items():
        checks = ask(e)
        failed[verdict] = [c for c in checks if not c.holds]
        if not failed[verdict]:
            return verdict, _REASONS[verdict](e), []
    reason = _looks_like(e)
    nearest = min(failed, key=lambda v: sum(2 - c.open for c in failed[v]))
    missed = failed[nearest]
    if sum(not c.open for c in missed) <= 2:
        reason += f"; nearest is {nearest}, but for " + ", ".join(c.text for c in missed)
    if all(c.open for c in missed):
        return "undecided", reason, [f"more seeds: {nearest} fails by widths of intervals alone"]
    return "undecided", reason, []


def _drift(e: Evidence) -> list[Check]:
    hot = e.arms[0]
    checks = [
        above("γ", hot.time_exponent, _STILL),
        above("drift share", hot.drift_share, _MOST),
        above("drift share of the growth", hot.growth_share, _MOST),
        within("β", e.batch_exponent, -_ZERO, _ZERO),
    ]
    if hot.full_growth is None:
        return [*checks, Check(f"θ spans a factor {e.ratio:.0f}", e.ratio >= _COLD * (1 - 1e-9))]
    return [
        *checks,
        within("full batch's growth over this", hot.full_growth, _LEAST_LIKE, _MOST_LIKE),
        within("full batch's distance over this", hot.full_ratio, _LEAST_LIKE, _MOST_LIKE),
    ]


def _noise_alone(e: Evidence) -> list[Check]:
    """The growth is that of the noise, in every arm."""
    checks = [below("drift share of the growth", e.growth_share, _LITTLE)]
    for arm in e.arms:
        share = arm.growth_share
        if share is not None:
            checks.append(Check(f"drift share {shown(share)} in an arm", share.value <= _LITTLE))
        if arm.full_growth is not None:
            checks.append(below("full batch's growth over this", arm.full_growth, _LITTLE))
    return checks


def _norm_growth(e: Evidence) -> list[Check]:
    n = e.norms
    if n is None:
        return [*_noise_alone(e), Check("growing norms are not known", False)]
    return [
        *_noise_alone(e),
        _not_excluded(e, "theta t"),
        above("growth of |w|²", n.growth, _LEAST_NORM_GROWTH),
        within("∂ln(|w|⁴ − |w_0|⁴)/∂ln t", n.time_slope, 1 - _ONE, 1 + _ONE),
        within("∂ln(|w|⁴ − |w_0|⁴)/∂ln θ", n.temperature_slope, 1 - _ONE, 1 + _ONE),
        within("D²/(|w|² − |w_0|²)", n.geometry, 1 - _ONE, 1 + _ONE),
        below("∂ln(|w|² − |w_0|²)/∂ln t", n.square_slope, 1.0),
        within("∂ln|Δw|/∂ln|w|", n.step, -1 - _STEP, -1 + _STEP),
    ]


def _free_diffusion(e: Evidence) -> list[Check]:
    alike = [
        a.noise_exponent is not None and abs(a.noise_exponent.value - 0.5) < _HALF_OF_ARM
        for a in e.arms
    ]
    return [
        *_noise_alone(e),
        within("γ of the noise", e.noise_exponent, 0.5 - _HALF, 0.5 + _HALF),
        Check("γ of the noise is not ½ in every arm", all(alike)),
        within("β of the noise", e.noise_batch_exponent, 0.5 - _HALF, 0.5 + _HALF),
        within("1/M", e.uncorrelated, 1 - _UNCORRELATED, 1 + _UNCORRELATED),
    ]


def _trapping(e: Evidence) -> list[Check]:
    hot = e.arms[0]
    odds = "∂ln odds of the share/∂ln θ"
    free = e.odds_exponent is not None and e.odds_exponent.value < _MOST_ODDS
    return [
        below("full batch's growth over this", hot.full_growth, _LITTLE),
        above("γ", hot.time_exponent, 0.0),
        above("β of the way beyond the full batch", e.excess_batch_exponent, _LEAST_NOISY),
        within("γ of the way beyond the full batch", hot.excess_exponent, 0.0, 0.5),
        above("share of that way that replicas have in common", hot.excess_overlap, _SHARED),
        below(odds, e.odds_exponent, 1.0),
        Check(f"{odds} is not below {_MOST_ODDS}", free),
        _excluded(e, "t"),
        _excluded(e, "theta t"),
    ]


def _excluded(e: Evidence, clock: str) -> Check:
    found = any(s.clock == clock and s.excluded for s in e.collapse)
    return Check(f"a collapse on {clock} is not excluded", found)


def _not_excluded(e: Evidence, clock: str) -> Check:
    found = any(s.clock == clock and s.excluded for s in e.collapse)
    return Check(f"no collapse on {clock}", not found)


def _why_drift(e: Evidence) -> str:
    hot = e.arms[0]
    assert hot.drift_share and hot.growth_share and e.batch_exponent
    like = f"D is the same at all batch sizes (β = {shown(e.batch_exponent)})"
    if hot.full_ratio is not None:
        like = f"the full batch goes {shown(hot.full_ratio)} of the way"
    return (
        f"replicas share {shown(hot.drift_share)} of D² and {shown(hot.growth_share)} of its "
        f"growth at the smallest batch, and {like}"
    )


def _why_norm_growth(e: Evidence) -> str:
    n = e.norms
    assert n is not None and n.step is not None
    return (
        f"|w|⁴ − |w_0|⁴ grows as t^({shown(n.time_slope)}) θ^({shown(n.temperature_slope)}), D² is "
        f"{shown(n.geometry)} of |w|² − |w_0|², steps shrink as |w|^({shown(n.step)}), and "
        "replicas share little of the way"
    )


def _why_free_diffusion(e: Evidence) -> str:
    assert e.noise_exponent and e.noise_batch_exponent and e.uncorrelated
    before, hot = "", e.arms[0].drift_share
    if hot is not None and hot.interval[0] > _LITTLE:
        before = f"; {shown(hot)} of D² is an earlier drift"
    return (
        f"replicas part as θ^({shown(e.noise_batch_exponent)}) t^({shown(e.noise_exponent)}), "
        f"increments are uncorrelated (1/M = {shown(e.uncorrelated)}), and they share little of "
        f"the growth{before}"
    )


def _why_trapping(e: Evidence) -> str:
    hot = e.arms[0]
    assert e.excess_batch_exponent and hot.excess_exponent and hot.excess_overlap
    assert e.odds_exponent
    return (
        f"the full batch stops, the way beyond it grows as θ^({shown(e.excess_batch_exponent)}) "
        f"but only t^({shown(hot.excess_exponent)}), and replicas share "
        f"{shown(hot.excess_overlap)} of it, odds ∝ θ^({shown(e.odds_exponent)}): they sit in the "
        "same valleys"
    )


_REASONS: Mapping[Verdict, Callable[[Evidence], str]] = {
    "drift": _why_drift,
    "norm growth": _why_norm_growth,
    "free diffusion": _why_free_diffusion,
    "trapping": _why_trapping,
}


def _looks_like(e: Evidence) -> str:
    hot, cold = e.arms[0], e.arms[-1]
    share = hot.growth_share
    if hot.time_exponent.interval[1] < _STILL:
        found = f"the distance no longer grows (γ = {shown(hot.time_exponent)})"
    elif share is not None and share.interval[0] > _LITTLE and share.interval[1] < _MOST:
        other = "" if cold.growth_share is None else f", {shown(cold.growth_share)} at the largest"
        found = (
            f"a mixture: replicas share {shown(share)} of the growth at the smallest batch{other}"
        )
    else:
        found = "no mechanism passes all of its checks"
    memory, beta = e.uncorrelated, e.noise_batch_exponent
    if memory is not None and beta is not None and memory.interval[1] < 1 - _UNCORRELATED:
        like = ", as in an Ornstein–Uhlenbeck process" if 0.4 < beta.value < 0.6 else ""
        found += (
            f"; replicas' increments return (1/M = {shown(memory)}) and their distance goes as "
            f"θ^({shown(beta)}): confined{like}"
        )
    return found

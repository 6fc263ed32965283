"""Is it a walk? Why the distance from the initial weights grows, decided from training runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noisescale.analysis.checks import real_number
from noisescale.analysis.html import plus_minus, table
from noisescale.analysis.resampling import checked_level
from noisescale.analysis.walk.arms import Arm, arms_of
from noisescale.analysis.walk.collapse import ClockScore
from noisescale.analysis.walk.decision import Verdict, decide
from noisescale.analysis.walk.estimates import Curve
from noisescale.analysis.walk.evidence import Evidence
from noisescale.analysis.walk.measured import Measured, evidence_of
from noisescale.analysis.walk.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes


FEWEST_SEEDS = 3
FEWEST_DECADES = 1.5
# Largest over smallest θ.
FEWEST_RATIO = 4.0
_MARGIN = 0.1
# Wanted, but some verdicts do without it.
_FULL = "the full batch"


@dataclass(frozen=True, slots=True)
class WalkVerdict:
    """Why the distance grows, and the curves behind it. Times are t = ε k/(1 − m).

    Args:
        verdict: "drift", "free diffusion", "trapping", "norm growth" or "undecided".
        reason: the verdict in words, with the numbers that decide.
        needs: what data would decide, or are missing.
        caveats: what the verdict takes for granted.
        seeds: initial weights common to all arms.
        level: of all intervals.
        batch_sizes: of the arms with noise, noisiest first; then the full batch if it is there.
        drift_share: q(t) of every arm, share of D² that replicas have in common.
        noise_share: 1 − q(t).
        batch_exponent: β(t) = ∂ln D/∂ln θ at equal t, where θ ∝ 1/B − 1/N; None for one θ.
        time_exponent: γ(t) = ∂ln D/∂ln t of every arm.
        memory: of every arm, (V(t_n) − V(t))/Δ²(t, t_n) = 1/M with V = E |w_a − w_b|²/2 and Δ² the
            displacement of (w_a − w_b)/√2 between t and the last time; 1 if increments are
            uncorrelated, below 1 if they return.
        ageing: of every arm, speed of spreading Δ²(t, 2t)/t of (w_a − w_b)/√2 over V(t)/t: 1 for
            a free walk, 1 or more wherever noise acts linearly, below 1 where the walk slows down
            with its age: in traps, and as norms grow.
        collapse: the score of every clock.
        evidence: numbers of the last decade; None where there were too few data for them.
        arms: what the runs were reduced to.
    """

    verdict: Verdict
    reason: str
    needs: tuple[str, ...]
    caveats: tuple[str, ...]
    seeds: int
    level: float
    batch_sizes: tuple[int, ...]
    drift_share: tuple[Curve, ...]
    noise_share: tuple[Curve, ...]
    batch_exponent: Curve | None
    time_exponent: tuple[Curve, ...]
    memory: tuple[Curve, ...]
    ageing: tuple[Curve, ...]
    collapse: tuple[ClockScore, ...]
    evidence: Evidence | None
    arms: tuple[Arm, ...]

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON: verdict, reason, needs, caveats, curves, clocks and evidence."""
        curves = {
            key: [c.to_dict() for c in getattr(self, key)]
            for key in ("drift_share", "noise_share", "time_exponent", "memory", "ageing")
        }
        beta = self.batch_exponent
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "needs": list(self.needs),
            "caveats": list(self.caveats),
            "seeds": self.seeds,
            "level": self.level,
            "batch_sizes": list(self.batch_sizes),
            **curves,
            "batch_exponent": None if beta is None else beta.to_dict(),
            "collapse": [score.to_dict() for score in self.collapse],
            "evidence": None if self.evidence is None else self.evidence.to_dict(),
        }

    def _repr_html_(self) -> str:
        found = self.evidence
        numbers = {} if found is None else found.numbers()
        rows = [
            [name.replace("_", " "), plus_minus(n.value, n.stderr), n.interval]
            for name, n in numbers.items()
            if n is not None
        ]
        rows += [
            [f"spread of ln D at equal {s.clock}", plus_minus(n.value, n.stderr), n.interval]
            for s in self.collapse
            if (n := s.spread) is not None
        ]
        sizes = ", ".join(f"{size:,}" for size in self.batch_sizes)
        title = f"Walk: {self.verdict}; seeds: {self.seeds}, batch sizes {sizes}"
        needs = [f"needed: {need}" for need in self.needs]
        head = ["last decade", "± standard error", f"{self.level:.0%} interval"]
        return table(title, head, rows, [self.reason, *needs, *self.caveats])

    def plot(self, ax: "Axes | None" = None) -> Any:
        """All panels on a new figure; with `ax`, the drift share alone."""
        from noisescale.plots.walk_verdict import draw_drift_share, walk_figure

        return walk_figure(self) if ax is None else draw_drift_share(ax, self)


def judge_walk(
    trajectories: Iterable[Trajectory], *, level: float = 0.95, margin: float = _MARGIN
) -> WalkVerdict:
    """D(t, θ): which of drift (θ⁰), free diffusion (√(θ t)), trapping or norm growth is it?

    With t = ε k/(1 − m), θ = (ε/(1 − m))(1/B − 1/N) and replicas a, b that share w_0 but not the
    data order, V = E |w_a − w_b|²/2 is the noise's part of D² = E |w − w_0|², free of drift, and
    q = 1 − V/D² the share of drift.

    ================  ==============================================================================
    drift             D does not depend on θ and the full batch goes the same way; q → 1
    free diffusion    V ∝ θ t, increments uncorrelated; the growth is noise
    norm growth       |w|⁴ − |w_0|⁴ ∝ θ t, D² = |w|² − |w_0|²: scale-invariant weights
    trapping          the full batch stops; the way beyond it grows with θ but slower than √t, and
                      replicas share the same part of it at every θ: they sit in the same valleys
    ================  ==============================================================================

    A high q alone is no drift: replicas in one random landscape localise in the same valleys, and
    the full batch tells the two apart. Where noise acts linearly (a quadratic of any curvatures, a
    free walk) replicas share nothing beyond the full batch; a drift that noise induces is ∝ θ, and
    its share falls with θ. Growing norms are called so once |w|² has grown by a fifth; before, such
    a walk is free. Everything else is "undecided", with what it looks like:
    mixtures, confined noise (as around a minimum, whatever its curvatures), a distance at rest.
    Errors are jackknife ones over initial weights; a condition holds if the whole interval meets
    it. Looked at is the last decade of the times that all arms share, after momentum's start.

    Args:
        trajectories: runs of at least 3 seeds at 2 or more batch sizes a factor 4 apart and, per
            seed, the full batch (B = N), each but the last with 2 replicas and positions. The
            learning rate and momentum of an arm are constant; they may differ between arms.
        level: confidence of every interval.
        margin: spread of ln D over batch sizes up to which curves are one.

    Returns:
        WalkVerdict; "undecided" with `needs` where the data do not suffice.

    Raises:
        InputError: no runs, runs given twice, unequal train sizes, no common seed or times.

    Source: Hoffer, Hubara & Soudry 2017, section 4 (trapping: D ∝ (θ ln t)^{2/α}); Golosov 1984
        (localisation); Arora, Li & Lyu 2019 (norms of scale-invariant weights); Bouchaud &
        Georges 1990 (diffusion in random media).
    """
    level = checked_level(level)
    margin = real_number("margin", margin, above=0.0, hint="it must be above 0, such as 0.1")
    given = list(trajectories)
    arms, seeds = arms_of(given)
    full = next((arm for arm in arms if arm.full_batch), None)
    noisy = [arm for arm in arms if not arm.full_batch]
    evidence = None
    needs = _needs(noisy, full, len(seeds), given[0].train_size)
    if noisy and len(seeds) > 1:
        measured = Measured(noisy, full)
        if measured.enough:
            evidence = evidence_of(measured, margin=margin, level=level)
            if evidence.decades < FEWEST_DECADES:
                needs.append(
                    f"the arms share {evidence.decades:.2f} decades of time after momentum's "
                    f"start: measure over {FEWEST_DECADES:g}"
                )
        else:
            needs.append("the arms share too few times: measure all over the same updates")
    verdict, reason, more = _concluded(evidence, needs)
    shares = () if evidence is None else evidence.drift_curves
    return WalkVerdict(
        verdict=verdict,
        reason=reason,
        needs=(*needs, *more),
        caveats=_caveats(arms, given[0].train_size),
        seeds=len(seeds),
        level=level,
        batch_sizes=tuple(arm.batch_size for arm in arms),
        drift_share=shares,
        noise_share=tuple(
            Curve(c.name, c.time, 1 - c.value, c.stderr, 1 - c.high, 1 - c.low) for c in shares
        ),
        batch_exponent=None if evidence is None else evidence.batch_curve,
        time_exponent=() if evidence is None else evidence.time_curves,
        memory=() if evidence is None else evidence.memory_curves,
        ageing=() if evidence is None else evidence.ageing_curves,
        collapse=() if evidence is None else evidence.collapse,
        evidence=evidence,
        arms=tuple(arms),
    )


def _needs(noisy: list[Arm], full: Arm | None, seeds: int, train_size: int | None) -> list[str]:
    """What is missing; the first of these words keep a verdict from being given."""
    needs = []
    if seeds < FEWEST_SEEDS:
        needs.append(f"{seeds} seeds: give {FEWEST_SEEDS} initial weights or more")
    temperatures = [arm.temperature for arm in noisy]
    if not temperatures or max(temperatures) < FEWEST_RATIO * min(temperatures) * (1 - 1e-9):
        needs.append(f"batch sizes: give two or more, at least a factor {FEWEST_RATIO:g} apart")
    if any(arm.noise is None for arm in noisy):
        needs.append(
            "replicas: give two runs of every seed and batch size in another data order, with "
            "positions or their sketch"
        )
    if full is None:
        known = "" if train_size is not None else ", and train_size"
        needs.append(f"{_FULL}: give one run of every seed with B = N{known}")
    return needs


def _concluded(evidence: Evidence | None, needs: list[str]) -> tuple[Verdict, str, list[str]]:
    missing = [n for n in needs if not n.startswith(_FULL)]
    if evidence is None or missing:
        return "undecided", "too few data: " + "; ".join(missing or needs), []
    verdict, reason, more = decide(evidence)
    if verdict == "undecided" and needs:
        reason += "; without the full batch trapping cannot be told from drift"
    return verdict, reason, more


def _caveats(arms: list[Arm], train_size: int | None) -> tuple[str, ...]:
    found = [
        "the last decade of time alone is judged; what came before or comes after may differ",
        "θ is that of independent batches; epochs of reshuffled data have less noise in slow "
        "directions, so times beyond an epoch may look confined",
    ]
    if train_size is None:
        found.append("without train_size θ is ∝ 1/B, too high for batches near the train size")
    if any(arm.numbers for arm in arms):
        numbers = min(arm.numbers for arm in arms if arm.numbers)
        found.append(
            f"overlaps are estimated from sketches of {numbers} numbers: a relative error of "
            f"{np.sqrt(2 / numbers):.2f} that all seeds may share"
        )
    return tuple(found)

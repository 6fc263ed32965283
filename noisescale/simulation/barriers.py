"""Valley dynamics in a potential: a walker at log-time barrier Γ = T ln t, for every Γ at once.

At low temperature a walker leaves its valley when t passes e^{barrier/T}, over the lowest saddle
behind which there is a lower valley. The barriers are the persistence of the minima (0-dimensional,
of the sublevel sets); what lies behind each saddle is kept as a pointer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.checks import positive
from noisescale.errors import InputError, shown
from noisescale.simulation import persistence as kernels

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Mean of |⟨X⟩ − x(Γ)| / (Γ/σ)² times Γ/T at an exponential clock, d = 1, α = 1.
_ERROR = 7.5
_ACCURACY = {
    1: "zero-temperature dynamics; in d = 1 positions are off by about 7.5 T/Γ of (Γ/σ)^(2/α)",
    2: "indicative: zero-temperature dynamics in d >= 2, where at Γ = 40 T a third to a half of "
    "the starts is still misplaced",
}


@dataclass(frozen=True, slots=True)
class BarrierTree:
    """The valleys of a potential, and where each drains as ever higher barriers are passed.

    Valleys are numbered in the order of their minima's flat indices.

    Args:
        basin: (*shape), valley of every site, by steepest descent.
        minima: (m,) flat index of each valley's lowest site.
        persistence: (m,) V(saddle) − V(minimum) where the valley joins an elder (lower) one; inf
            for the lowest.
        next: (m,) the valley right behind that saddle: not the elder one's minimum, which may be
            far beyond further barriers. The lowest points to itself.
        wall_barrier: (m,) height above the minimum at which water in the valley reaches the edge
            of the box; inf if it flows into the elder valley before.
        accuracy: what the locations are worth, in a sentence.
    """

    basin: Indices
    minima: Indices
    persistence: Array
    next: Indices
    wall_barrier: Array
    accuracy: str

    def location(self, Gamma: ArrayLike, starts: ArrayLike | None = None) -> Indices:
        """x(Γ): from the start's valley on, `next` is followed while its persistence is < Γ.

        Args:
            Gamma: (K,) barriers Γ = T ln t ≥ 0, ascending, in units of V; a number is one.
            starts: (S,) sites where d = 1, (S, d) otherwise; None for every site.

        Returns:
            Minima of the valleys: (K, S) sites where d = 1, (K, S, d) otherwise. In d = 1 they
            tell the law of large Γ/T, not more: see `error`. For d ≥ 2 they are indicative.

        Raises:
            InputError: Γ negative, not finite or not ascending; a start that is no site.

        Source: Le Doussal, Monthus & Fisher 1999 (renormalisation of Sinai's walk), by
        persistence.
        """
        sites = self.minima[self._followed(Gamma, self._sites(starts))[0]]
        if self.basin.ndim == 1:
            return sites
        return np.stack(np.unravel_index(sites, self.basin.shape), axis=-1)

    def wall(self, Gamma: ArrayLike, starts: ArrayLike | None = None) -> Array:
        """(K,) share of the starts whose x(Γ) a larger box might change: box-limited ones.

        That is where the start is on the edge, where the water in one of the valleys passed
        reached the edge before its saddle, or does so in the last valley below Γ. In d = 1 all
        other locations are those of every larger box; in d ≥ 2 nearly all, because a slope along
        the edge may drain elsewhere.
        """
        sites = self._sites(starts)
        limited = self._followed(Gamma, sites)[1]
        for column, n in zip(sites, self.basin.shape, strict=True):
            limited |= (column == 0) | (column == n - 1)
        return limited.mean(axis=1)

    def error(self, Gamma: ArrayLike, T: float = 1.0) -> Array:
        """(K,) mean |⟨X⟩ − x(Γ)| in units of (Γ/σ)^{2/α}: about 7.5 T/Γ in d = 1, NaN in d ≥ 2.

        Measured against the exact mean position at an exponential clock of mean e^{Γ/T} for α = 1
        and σ = T: 0.66 ± 0.05, 0.36 ± 0.03, 0.20 ± 0.02, 0.10 ± 0.02 at Γ/T = 10, 20, 40, 80. With
        Γ = T (ln t − 2.6) in place of T ln t it is about half: a barrier takes a few e^{barrier/T}.
        """
        barriers, T = _barriers(Gamma), positive("T", T)
        with np.errstate(divide="ignore"):
            relative = np.minimum(_ERROR * T / barriers, 1.0)
        return relative if self.basin.ndim == 1 else np.full(barriers.size, np.nan)

    def _followed(
        self, Gamma: ArrayLike, sites: tuple[Indices, ...]
    ) -> tuple[Indices, NDArray[np.bool_]]:
        barriers, valleys = _barriers(Gamma), self.basin[sites]
        parts = self.persistence, self.next, self.wall_barrier, barriers
        if valleys.size <= self.minima.size:
            return kernels.follow(*parts, valleys)
        ends, bounded = kernels.follow(*parts, np.arange(self.minima.size))
        return ends[:, valleys], bounded[:, valleys]

    def _sites(self, starts: ArrayLike | None) -> tuple[Indices, ...]:
        shape = self.basin.shape
        if starts is None:
            return np.unravel_index(np.arange(self.basin.size), shape)
        wanted = "(S,)" if len(shape) == 1 else f"(S, {len(shape)})"
        try:
            sites = np.asarray(starts)
        except ValueError:
            sites = np.empty(0)
        if sites.dtype.kind not in "iu" or not sites.size:
            raise InputError(f"starts={shown(starts)}: give sites as whole numbers {wanted}")
        columns = np.atleast_1d(sites)[..., None] if len(shape) == 1 else sites
        if columns.ndim != 2 or columns.shape[1] != len(shape):
            raise InputError(f"starts of shape {sites.shape}: sites of this box are {wanted}")
        if (columns < 0).any() or (columns >= np.array(shape)).any():
            raise InputError(f"starts={shown(starts)}: outside the box of {shape} sites")
        return tuple(columns.astype(np.int64).T)


def barrier_tree(V: ArrayLike) -> BarrierTree:
    """Persistence of the minima of V, min over paths of max V − V(minimum), and valley pointers.

    Neighbours are the 2d nearest ones, the box is reflecting. Equal values are ordered by their
    flat index. O(n) in d = 1; otherwise only the sites between valleys are sorted.

    Args:
        V: potential on a lattice of any dimension d ≥ 1, finite, of at least two sites.

    Returns:
        The tree, from which the valleys at every log-time are read.

    Raises:
        InputError: V not numeric, not finite, or of fewer than two sites.

    Source: Edelsbrunner, Letscher & Zomorodian 2002 (persistence, elder rule).
    """
    try:
        values = np.asarray(V)
    except ValueError:
        values = np.empty(0, object)
    if values.dtype.kind not in "iuf":
        raise InputError(f"V={shown(V)}: it must be an array of numbers")
    if values.ndim == 0 or values.size < 2:
        raise InputError(f"V of shape {values.shape}: it needs at least two sites")
    values = np.ascontiguousarray(values, np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"V holds {int((~np.isfinite(values)).sum()):,} NaN or infinities")
    accuracy = _ACCURACY[min(values.ndim, 2)]
    if values.ndim == 1:
        basin, minima, persistence, pointer, wall = kernels.line_tree(values)
        return BarrierTree(basin, minima, persistence, pointer, wall, accuracy)
    rimmed = np.pad(values, 1, constant_values=np.inf)
    strides = np.array(rimmed.strides, np.int64) // rimmed.itemsize
    offsets, flat = np.concatenate([strides, -strides]), rimmed.ravel()
    basin, lowest, saddles, edge = kernels.descend(flat, offsets)
    ascending = saddles[_stable_argsort(flat[saddles])]
    persistence, pointer, wall = kernels.lattice_tree(flat, offsets, basin, lowest, ascending, edge)
    inside = (slice(1, -1),) * values.ndim
    basin = np.ascontiguousarray(basin.reshape(rimmed.shape)[inside])
    places = tuple(axis - 1 for axis in np.unravel_index(lowest, rimmed.shape))
    minima = np.ravel_multi_index(places, values.shape)
    return BarrierTree(basin, minima, persistence, pointer, wall, accuracy)


def _stable_argsort(values: Array) -> Indices:
    # The unstable sort is four times as fast, and right where no two values are equal.
    order = np.argsort(values)
    ranked = values[order]
    return np.argsort(values, kind="stable") if (ranked[1:] == ranked[:-1]).any() else order


def _barriers(Gamma: ArrayLike) -> Array:
    hint = "give barriers T ln t, finite, at least 0 and ascending"
    try:
        barriers = np.atleast_1d(np.asarray(Gamma))
    except ValueError:
        barriers = np.empty(0)
    if barriers.dtype.kind not in "iuf" or barriers.ndim != 1 or not barriers.size:
        raise InputError(f"Gamma={shown(Gamma)}: {hint}")
    barriers = barriers.astype(np.float64)
    if not np.isfinite(barriers).all() or barriers[0] < 0 or (np.diff(barriers) < 0).any():
        raise InputError(f"Gamma={shown(Gamma)}: {hint}")
    return barriers

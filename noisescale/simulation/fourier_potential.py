"""A self-affine potential off the lattice, in any dimension: a sum of waves, with its gradient."""

from math import log, pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from noisescale.analysis.checks import positive, positive_integer
from noisescale.analysis.roughness.fractional_noise import checked_alpha
from noisescale.errors import InputError, shown

Array = NDArray[np.float64]

# Numbers (walkers × modes) held at a time.
_BLOCK = 1 << 22
# Beyond, the series of ₀F₁ overflows, and the trapezoidal rule converges to rounding.
_SERIES_UP_TO = 100


class RandomFourierPotential:
    """V(x) = Σ_j A_j cos(k_j·x + θ_j) + g·x − V₀, V(0) = 0, with E[(V(x) − V(y))²] ≈ σ² |x − y|^α.

    M waves cover kmin … kmax, one in each of M equal parts of ln k, in random directions. Wave
    vectors given, V is exactly Gaussian: A_j² has the mean 2 a_j², a_j² = C σ² |k_j|^{−α}
    ln(kmax/kmin)/M, and θ_j is uniform. Waves longer than 1/kmin are a slope g across the range
    1/kmax ≪ r ≪ 1/kmin in which the potential is self-affine; without it α near 2 looks trapped.
    At α = 2 the slope is all there is.

    Args:
        dim: d ≥ 1, dimensions.
        alpha: α in (0, 2].
        sigma: σ > 0, root mean square difference at distance 1.
        n_modes: M ≥ 1, waves.
        kmin: smallest wave number, > 0, per unit of distance. Use kmin · r below about 0.1.
        kmax: largest, > kmin. The potential is smooth below 1/kmax: 2 C kmax^{−α}/α of the
            structure function σ² r^α is missing.
        rng: source of wave vectors, amplitudes, phases and slope.

    Attributes:
        wave_vectors: (M, d).
        amplitudes: (M,) A_j, units of V.
        phases: (M,) θ_j, radians.
        slope: (d,) g.
        mean_squares: (M,) E[A_j²].
        slope_variance: of each component of g, C σ² kmin^{2−α}/(d (2 − α)).

    Raises:
        InputError: an argument outside its range.

    Source: the spectral representation of isotropic Gaussian increments (Yaglom 1957), sampled;
    C = Γ(1 + α) sin(πα/2)/(π E|u₁|^α), u₁ a component of a random unit vector.
    """

    __slots__ = (
        "alpha",
        "amplitudes",
        "dim",
        "mean_squares",
        "phases",
        "sigma",
        "slope",
        "slope_variance",
        "wave_vectors",
    )

    def __init__(
        self,
        dim: int,
        alpha: float,
        sigma: float,
        n_modes: int,
        kmin: float,
        kmax: float,
        rng: np.random.Generator,
    ) -> None:
        self.dim = positive_integer("dim", dim)
        self.alpha = checked_alpha(alpha, ramp=True)
        self.sigma = positive("sigma", sigma)
        modes = positive_integer("n_modes", n_modes)
        low, high = positive("kmin", kmin), positive("kmax", kmax)
        if high <= low:
            raise InputError(f"kmax={shown(kmax)}: it must exceed kmin={shown(kmin)}")
        if not isinstance(rng, np.random.Generator):
            raise InputError(f"rng={shown(rng)}: give a numpy.random.Generator")
        span = log(high / low)
        numbers = low * np.exp(span * (np.arange(modes) + rng.random(modes)) / modes)
        directions = rng.standard_normal((modes, self.dim))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        per_gap = _infrared_constant(self.dim, self.alpha)
        strength = (2 - self.alpha) * per_gap * self.sigma**2
        self.wave_vectors = directions * numbers[:, None]
        self.mean_squares = 2 * strength * span / modes * numbers**-self.alpha
        cosine, sine = rng.standard_normal((2, modes)) * np.sqrt(self.mean_squares / 2)
        self.amplitudes, self.phases = np.hypot(cosine, sine), np.arctan2(sine, cosine)
        self.slope_variance = per_gap * self.sigma**2 * low ** (2 - self.alpha) / self.dim
        self.slope = sqrt(self.slope_variance) * rng.standard_normal(self.dim)

    def value(self, x: ArrayLike) -> Array:
        """V(x), V(0) = 0.

        Args:
            x: (W, d) positions.

        Returns:
            (W,)

        Raises:
            InputError: x of another shape, or not finite.
        """
        positions = self._checked(x)
        values = positions @ self.slope - self.amplitudes @ np.cos(self.phases)
        for rows in self._blocks(len(positions)):
            values[rows] += np.cos(self._angles(positions[rows])) @ self.amplitudes
        return values

    def gradient(self, x: ArrayLike) -> Array:
        """∂V/∂x = g − Σ_j A_j sin(k_j·x + θ_j) k_j.

        Args:
            x: (W, d) positions.

        Returns:
            (W, d)

        Raises:
            InputError: x of another shape, or not finite.
        """
        positions = self._checked(x)
        gradients = np.tile(self.slope, (len(positions), 1))
        for rows in self._blocks(len(positions)):
            waves = np.sin(self._angles(positions[rows])) * self.amplitudes
            gradients[rows] -= waves @ self.wave_vectors
        return gradients

    def structure_function(self, r: ArrayLike) -> Array:
        """S(r) = Σ_j E[A_j²] (1 − Λ(k_j r)) + Var(g₁) r², Λ(z) = E cos(z u₁).

        The mean of (V(x) − V(y))² at |x − y| = r over directions, amplitudes, phases and slope,
        for the wave numbers |k_j| at hand; σ² r^α is what it should be.

        Args:
            r: distances ≥ 0.

        Returns:
            S, of the shape of `r`.

        Raises:
            InputError: a distance negative or not finite.
        """
        distances = _numbers("r", r)
        if (distances < 0).any():
            raise InputError(f"r={shown(r)}: distances must be at least 0")
        numbers = np.linalg.norm(self.wave_vectors, axis=1)
        waves = [
            float(self.mean_squares @ _one_minus_mean_cosine(numbers * distance, self.dim))
            for distance in distances.ravel()
        ]
        return np.reshape(waves, distances.shape) + self.slope_variance * distances**2

    def _angles(self, positions: Array) -> Array:
        return positions @ self.wave_vectors.T + self.phases

    def _blocks(self, n: int) -> list[slice]:
        rows = max(1, _BLOCK // len(self.phases))
        return [slice(start, start + rows) for start in range(0, n, rows)]

    def _checked(self, x: ArrayLike) -> Array:
        positions = _numbers("x", x)
        if positions.ndim != 2 or positions.shape[1] != self.dim:
            raise InputError(f"x of shape {positions.shape}: positions are (W, {self.dim})")
        return positions


def _numbers(name: str, values: ArrayLike) -> Array:
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InputError(f"{name}={shown(values)}: give finite numbers")
    return array.astype(np.float64, copy=False)


def _infrared_constant(dim: int, alpha: float) -> float:
    """C/(2 − α), finite at α = 2, where it is d."""
    from scipy.special import gammaln

    # ln E|u₁|^α
    moment = gammaln(dim / 2) + gammaln((1 + alpha) / 2) - gammaln((dim + alpha) / 2)
    moment -= 0.5 * log(pi)
    # sin(πα/2)/(2 − α) = (π/2) sinc(1 − α/2)
    return float(0.5 * np.sinc(1 - alpha / 2) * np.exp(gammaln(1 + alpha) - moment))


def _one_minus_mean_cosine(z: Array, dim: int) -> Array:
    """1 − E cos(z u₁) over random unit vectors in `dim` dimensions."""
    from scipy.special import hyp0f1

    if dim <= _SERIES_UP_TO:
        mean = hyp0f1(dim / 2, -0.25 * z**2)
        small = z**2 / (2 * dim)
        return np.where(z < 1e-3, small * (1 - small * dim / (2 * (dim + 2))), 1 - mean)
    # u₁ = sin φ with density ∝ cos^{d−2} φ, negligible beyond ten standard deviations 1/√d.
    angles = np.linspace(-10, 10, 401) / sqrt(dim)
    weights = np.cos(angles) ** (dim - 2)
    half = np.sin(np.multiply.outer(0.5 * z, np.sin(angles))) ** 2
    return 2 * half @ (weights / weights.sum())

"""What is simulated: a kind of potential, a walker, times, environments."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisescale.analysis.checks import choice, positive, positive_integer
from noisescale.analysis.roughness.fractional_noise import checked_alpha
from noisescale.errors import InputError, shown
from noisescale.simulation.clocks import checked_log_times
from noisescale.simulation.rates import RATES

POTENTIALS = ("self-affine", "smooth", "harmonic", "flat")
METHODS = {
    "exact": "the law at an exponential clock of mean t, to rounding",
    "exact-fixed": "the law at the fixed time t, by Stehfest's inversion of order 12",
    "valleys": "the bottom of the valley that holds the walker at Γ = T ln t: the limit t → ∞",
    "walkers": "discrete-time walkers, by counter-based random numbers",
    "kinetic-monte-carlo": "continuous-time walkers, hop by hop",
}
# Hops that a walker can be followed through, one by one.
_MOST_LOG_HOPS = 16.2
_LARGEST_LATTICE, _MOST_ENVIRONMENTS, _MOST_STARTS = 10**8, 10**6, 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Walkers in independent environments, observed at ascending times.

    Args:
        potential: "self-affine", or a control: "smooth" (finite correlation length), "harmonic"
            (one valley), "flat" (a free walker).
        alpha: α in (0, 2] of a self-affine potential.
        sigma: σ, root mean square difference of neighbours (self-affine) or standard deviation
            (smooth).
        temperature: T, in units of the potential.
        sites: lattice sites, with reflecting ends.
        correlation_length: ℓ of the smooth potential, sites.
        stiffness: κ of the harmonic potential.
        method: a key of `METHODS`.
        rates: "arrhenius", "metropolis" or "heat_bath".
        log_times: ln t, ascending; t in units of the free walker's hop.
        environments: independent potentials.
        starts: starting sites per environment, evenly spaced over the central half.
        seed: of all random numbers; environment e is the same whatever their number.
    """

    potential: str = "self-affine"
    alpha: float = 1.0
    sigma: float = 1.0
    temperature: float = 1.0
    sites: int = 1 << 17
    correlation_length: float = 16.0
    stiffness: float = 1e-3
    method: str = "exact"
    rates: str = "arrhenius"
    log_times: tuple[float, ...] = field(default=tuple(np.linspace(10.0, 100.0, 19).tolist()))
    environments: int = 16
    starts: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        choice("potential", self.potential, POTENTIALS)
        choice("method", self.method, METHODS)
        choice("rates", self.rates, RATES)
        set_(self, "alpha", checked_alpha(self.alpha, ramp=True))
        for name in ("sigma", "temperature", "correlation_length", "stiffness"):
            set_(self, name, positive(name, getattr(self, name)))
        for name, most in (
            ("sites", _LARGEST_LATTICE),
            ("environments", _MOST_ENVIRONMENTS),
            ("starts", _MOST_STARTS),
        ):
            value = positive_integer(name, getattr(self, name))
            if value > most:
                raise InputError(f"{name}={value:,}: at most {most:,}")
            set_(self, name, value)
        if self.sites < 8:
            raise InputError(f"sites={self.sites}: walls are everywhere below 8 sites")
        if self.potential == "smooth" and self.correlation_length > self.sites / 4:
            raise InputError(
                f"correlation_length={self.correlation_length:g}: at most a quarter of the "
                f"{self.sites:,} sites"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"seed={shown(self.seed)}: it must be a whole number of at least 0")
        logs, _ = checked_log_times(None, self.log_times, "log_times")
        set_(self, "log_times", tuple(logs.tolist()))
        self._check_reach()

    def _check_reach(self) -> None:
        latest = self.log_times[-1]
        if self.method in ("walkers", "kinetic-monte-carlo") and latest > _MOST_LOG_HOPS:
            raise InputError(
                f"method={self.method!r} with ln t up to {latest:g}: walkers are followed hop by "
                f"hop, to ln t = {_MOST_LOG_HOPS}; take method 'exact' or 'valleys'"
            )
        if self.method == "valleys" and self.log_times[0] <= 0:
            raise InputError("method='valleys' needs ln t > 0: barriers are T ln t")
        reach = self.expected_distance(latest)
        if reach > self.sites / 2:
            raise InputError(
                f"sites={self.sites:,} are too few for ln t = {latest:g}: walkers travel about "
                f"{reach:.2g} sites by then; take more sites, or times up to ln t = "
                f"{self._latest_in_box():.3g}"
            )

    def expected_distance(self, log_t: float) -> float:
        """A low estimate of |x| by ln t: (T ln t/σ)^{2/α}/5 for a self-affine potential, else 0.

        The median is .6 of the power at α = 1, and more the nearer α is to 2.
        """
        if self.potential != "self-affine" or self.alpha == 2:
            return 0.0
        return float((self.temperature * max(log_t, 0.0) / self.sigma) ** (2 / self.alpha) / 5)

    def _latest_in_box(self) -> float:
        return float((2.5 * self.sites) ** (self.alpha / 2) * self.sigma / self.temperature)

    @property
    def distances(self) -> NDArray[np.int64]:
        """Distances at which the share of walkers beyond is recorded: powers of √2, whole."""
        powers = 2.0 ** (0.5 * np.arange(2 * np.ceil(np.log2(self.sites)).astype(int)))
        return np.unique(powers.round().astype(np.int64))

    def as_dict(self) -> dict[str, Any]:
        """Everything that decides the numbers."""
        return {**asdict(self), "log_times": list(self.log_times)}


def simulation_fields() -> tuple[str, ...]:
    """Names of the arguments of `Simulation`."""
    return tuple(f.name for f in fields(Simulation))

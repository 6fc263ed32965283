"""Exact walks in self-affine potentials: the exponents that judge_walk reports are the theory's."""

import numpy as np
import pytest

from noisescale.analysis.walk import Trajectory, judge_walk
from noisescale.simulation.barriers import barrier_tree
from noisescale.simulation.potentials import fractional_brownian
from noisescale.simulation.propagation import sample_positions

SITES = 4001
LOG_T = np.linspace(4.0, 20.0, 9)
# σ = 1, and θ = ε/B: Einstein's relation makes hops T times as frequent as at rates of order 1.
TEMPERATURES = {16: 1.0, 32: 0.5, 64: 0.25}


def runs(alpha, coordinates, seeds, rng):
    """Every coordinate in its own potential; positions at each time are drawn from the exact law.

    The full batch rests at the bottom of the valley in which it starts.
    """
    start = SITES // 2
    positions = {
        (s, b, r): np.zeros((len(LOG_T) + 1, coordinates))
        for s in range(seeds) for b in TEMPERATURES for r in range(2)
    }  # fmt: skip
    rest = np.zeros((seeds, coordinates))
    for seed in range(seeds):
        for i in range(coordinates):
            V = fractional_brownian(SITES, alpha, rng=rng)
            rest[seed, i] = barrier_tree(V).location(0.0, np.array([start]))[0, 0] - start
            for batch, T in TEMPERATURES.items():
                for j, log_t in enumerate(LOG_T):
                    sites = sample_positions(
                        V, np.full(2, start), T=T, log_t=log_t + np.log(T), rng=rng
                    )
                    for r in range(2):
                        positions[seed, batch, r][j + 1, i] = sites[r] - start
    rate, full = 0.016, 10**9
    update = np.concatenate([[0.0], np.exp(LOG_T) / rate])
    common = dict(update=update, learning_rate=rate, train_size=full)
    found = [
        Trajectory(
            distance=np.linalg.norm(x, axis=1), batch_size=b, seed=s, replica=r, positions=x,
            **common,
        )
        for (s, b, r), x in positions.items()
    ]  # fmt: skip
    for seed, x in enumerate(rest):
        stay = np.concatenate([[0 * x], np.repeat([x], len(LOG_T), axis=0)])
        found.append(
            Trajectory(
                distance=np.linalg.norm(stay, axis=1), batch_size=full, seed=seed,
                positions=stay, **common,
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_replicas_share_valleys_and_the_batch_exponent_approaches_the_law(alpha):
    """D ∝ (θ ln t)^{2/α} from below: β near ½ at first, near 2/α at ln t = 20."""
    verdict = judge_walk(runs(alpha, 12, 4, np.random.default_rng(int(10 * alpha))))
    beta = verdict.batch_exponent
    assert beta.value[0] < 1.0
    # Exact walks at ln t = 20, T = ¼ to 1: 1.66 (α = 1) and 1.27 (α = 1½) over 96 coordinates.
    assert 0.75 * 2 / alpha < beta.value[-1] < 1.15 * 2 / alpha
    # Golosov: a high q without any drift of gradient descent.
    assert all(curve.value[-3:].mean() > 0.5 for curve in verdict.drift_share)
    assert all(arm.full_growth.value == 0 for arm in verdict.evidence.arms)
    assert verdict.verdict in ("trapping", "undecided")


@pytest.mark.long
@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_activated_walks_are_trapped(alpha):
    verdict = judge_walk(runs(alpha, 60, 6, np.random.default_rng(int(10 * alpha))))
    assert verdict.verdict == "trapping", verdict.reason
    assert verdict.batch_exponent.value[-1] == pytest.approx(2 / alpha, rel=0.25)

"""What each row of the report claims, against SGD itself on quadratic and flat landscapes."""

import re
from itertools import combinations, permutations

import numpy as np
import pytest

from noisescale import Phase, Schedule, equivalents, sgd_noise_scale
from noisescale.analysis import noise_scale as scale
from tests.reference import quadratic

N = 512
KAPPA = 4
RATE_ROUTES = ("learning-rate", "momentum", "sqrt")
# How many standard errors a simulated mean may be off; SE is over replicas, which are independent.
K_ERRORS = 4


def one_phase(*, epochs=8, learning_rate=0.1, batch_size=8, momentum=0.8, weight_decay=0.0):
    return Phase(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        momentum=momentum,
        weight_decay=weight_decay,
    )


def route(name, phases, *, train_size=N, target=None, schedule=None, **options):
    """The route to κ times the first batch."""
    phases = [phases] if isinstance(phases, Phase) else phases
    (found,) = equivalents(
        Schedule(phases, **(schedule or {})),
        train_size=train_size,
        routes=[name],
        target_batch_size=target or KAPPA * phases[0].batch_size,
        **options,
    )
    return found


def row(found, name):
    return next(i for i in found.invariants if i.name == name)


def message(found, code):
    (warning,) = [w for w in found.warnings if w.code == code]
    return warning.message


def ball(phase):
    return {"learning_rate": phase.learning_rate, "momentum": phase.momentum}


def arms(found, old, name):
    """(phase, the row's value for it) before and after."""
    values = row(found, name)
    return [(old, values.before), (found.schedule.phases[0], values.after)]


def finite_rate(phase, curvature):
    """Exact stationary variance over its limit for ελ → 0."""
    return 1 / (1 - phase.learning_rate * curvature / (2 * (1 + phase.momentum)))


def reshuffled_variance(phase, curvature, train_size=N):
    covariance = quadratic.noise_covariance(train_size, phase.batch_size, "reshuffled")
    return quadratic.epoch_variance(**ball(phase), curvature=curvature, covariance=covariance)


def mean_and_error(values):
    """Mean over replicas (the first axis) and its standard error."""
    per_replica = values.reshape(len(values), -1).mean(axis=1)
    return per_replica.mean(), per_replica.std(ddof=1) / np.sqrt(len(values))


def assert_simulated(values, expected):
    measured, error = mean_and_error(values)
    # Too large an error would let a factor of 2 pass.
    assert K_ERRORS * error < 0.2 * abs(expected)
    assert abs(measured - expected) < K_ERRORS * error


# The reference itself.


def test_noise_covariance_is_that_of_all_orders_of_an_epoch():
    x = np.array([0.3, -1.0, 2.5, -1.8])
    x = (x - x.mean()) / x.std()
    means = [np.reshape(order, (2, 2)).mean(axis=1) for order in permutations(x)]
    expected = np.cov(np.transpose(means), bias=True)
    assert quadratic.noise_covariance(4, 2, "reshuffled") == pytest.approx(expected)
    assert quadratic.noise_covariance(4, 2, "independent")[0] == pytest.approx([expected[0, 0], 0])


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_both_exact_solutions_agree_where_noises_are_independent(momentum):
    covariance = quadratic.noise_covariance(64, 4, "independent")
    one = quadratic.independent_variance(0.1, momentum, 0.7, covariance[0, 0])
    assert quadratic.epoch_variance(0.1, momentum, 0.7, covariance) == pytest.approx(one)


# Stationary spread: noise scale and temperature.


def stationary_claim(found, old, sampling, curvature):
    """(phase, variance that the report's row predicts): Σ T/(2λ), exact in ελ."""
    if sampling == "replacement":
        name, factor = "noise_scale", 1 / N
    else:
        # The temperature counts with the covariance of divisor N−1.
        name, factor = "temperature", N / (N - 1)
    return [
        (phase, factor * value / (2 * curvature) * finite_rate(phase, curvature))
        for phase, value in arms(found, old, name)
    ]


@pytest.mark.parametrize("sampling", ["replacement", "independent"])
@pytest.mark.parametrize("name", RATE_ROUTES)
def test_stationary_variance_is_what_the_rows_say(name, sampling):
    old = one_phase()
    found = route(name, old)
    curvature = 0.002  # slow: ελ of 2e-4 to 8e-4 per update
    exact = []
    for phase, expected in stationary_claim(found, old, sampling, curvature):
        noise = quadratic.noise_covariance(N, phase.batch_size, sampling)[0, 0]
        exact.append(
            quadratic.independent_variance(**ball(phase), curvature=curvature, noise_variance=noise)
        )
        assert exact[-1] == pytest.approx(expected, rel=1e-7)
    kept = 1.0 if name != "sqrt" else 1 / np.sqrt(KAPPA)
    small = 1.0 if sampling == "replacement" else (1 - KAPPA * 8 / N) / (1 - 8 / N)
    assert exact[1] / exact[0] == pytest.approx(kept * small, rel=1e-3)
    assert row(found, "noise_scale").kept == (name != "sqrt")
    temperature = row(found, "temperature")
    assert temperature.after / temperature.before == pytest.approx(
        kept * (1 - KAPPA * 8 / N) / (1 - 8 / N)
    )


@pytest.mark.parametrize("sampling", ["replacement", "independent"])
@pytest.mark.parametrize("name", RATE_ROUTES)
def test_simulated_stationary_variance_is_what_the_rows_say(name, sampling):
    rng = np.random.default_rng(1)
    size, old = 64, one_phase(batch_size=2)
    found = route(name, old, train_size=size)
    examples, curvature = quadratic.white_examples(rng, size, 8), 0.3
    g = row(found, "noise_scale" if sampling == "replacement" else "temperature")
    factor = 1 / size if sampling == "replacement" else size / (size - 1)
    for phase, value in ((old, g.before), (found.schedule.phases[0], g.after)):
        epochs = 12 * phase.batch_size  # 768 updates; a mode forgets in at most 2/(1−m) = 40
        w = quadratic.simulate(
            rng,
            examples,
            sampling,
            64,
            epochs,
            **ball(phase),
            batch_size=phase.batch_size,
            curvature=curvature,
        )
        expected = factor * value / (2 * curvature) * finite_rate(phase, curvature)
        assert_simulated(np.square(w[len(w) // 4 :]).swapaxes(0, 1), expected)


@pytest.mark.parametrize("batch_size", [8, 64, 256, 512])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_finite_population_noise_scale_is_the_spread_without_replacement(batch_size, momentum):
    found = route("learning-rate", one_phase(momentum=momentum), target=batch_size)
    after = found.schedule.phases[0]
    g = sgd_noise_scale(after.learning_rate, batch_size, N, momentum, finite_population=True)
    # The row shows the phase at its worst deviation, here the only one.
    assert row(found, "temperature").after == pytest.approx(g / N, rel=1e-9, abs=1e-15)
    noise = quadratic.noise_covariance(N, batch_size, "independent")[0, 0]
    variance = quadratic.independent_variance(**ball(after), curvature=1e-4, noise_variance=noise)
    expected = g / (N - 1) / (2 * 1e-4) * finite_rate(after, 1e-4)
    assert variance == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_batch_not_small_says_by_how_much_the_noise_is_below_g():
    found = route("learning-rate", one_phase(), target=128)
    (share,) = set(re.findall(r"([\d.]+)%", message(found, "batch-not-small")))
    plain, drawn = (quadratic.noise_covariance(N, 128, s)[0, 0] for s in quadratic.SAMPLINGS[:2])
    # N/(N−1) turns the covariance of divisor N into that of N−1.
    left = drawn / plain * (N - 1) / N
    assert 1 - left == pytest.approx(float(share) / 100, abs=5e-4)
    assert row(found, "finite_population_correction").after == pytest.approx(left)


# Momentum: which modes follow the g-dynamics.


def relaxation_per_epoch(phase, curvature):
    """−log of what an epoch multiplies the slowest mode by."""
    slowest = max(abs(quadratic.eigenvalues(**ball(phase), curvature=curvature)))
    return -np.log(slowest) * N / phase.batch_size


def test_slow_modes_relax_alike_under_the_momentum_rule_and_faster_ones_do_not():
    old = one_phase()
    found = route("momentum", old)
    new = found.schedule.phases[0]
    assert new.momentum == pytest.approx(0.95)
    limit = scale.underdamped_curvature(new.learning_rate, new.momentum)
    time = row(found, "sde_time_per_epoch")
    for share in (0.001, 0.01, 0.1, 0.5, 1.0, 4.0, 20.0):
        before, after = (relaxation_per_epoch(p, share * limit) for p in (old, new))
        # λ × SDE time as long as the mode is slow beside the buffer. Nearer to the limit it
        # decays up to twice as fast; beyond, by √m per update whatever its curvature.
        law = 2 / share * (1 - np.sqrt(max(0.0, 1 - share)))
        assert after == pytest.approx(law * share * limit * time.after, rel=0.01)
        if share <= 1:  # the original is still well inside its own, sixteen times wider limit
            assert before == pytest.approx(share * limit * time.before, rel=0.02)
            assert after / before == pytest.approx(law, rel=0.02)
        if share <= 0.01:
            assert after / before == pytest.approx(1.0, rel=0.01)
        if share > 1:
            rate = -0.5 * np.log(new.momentum) * N / new.batch_size
            assert after == pytest.approx(rate)


def test_the_momentum_rule_keeps_the_spread_of_independent_noise_in_every_mode():
    """Only sampling that is correlated, or what depends on time, tells fast modes apart."""
    old = one_phase()
    found = route("momentum", old)
    g, curvature = row(found, "noise_scale"), 5.0
    new = found.schedule.phases[0]
    assert curvature > 50 * scale.underdamped_curvature(new.learning_rate, new.momentum)
    for phase, value in ((old, g.before), (new, g.after)):
        variance = quadratic.independent_variance(
            **ball(phase), curvature=curvature, noise_variance=1 / phase.batch_size
        )
        expected = value / N / (2 * curvature) * finite_rate(phase, curvature)
        assert variance == pytest.approx(expected)


@pytest.mark.parametrize("momentum", [0.3, 0.8, 0.95])
def test_modes_turn_underdamped_where_stated(momentum):
    limit = scale.underdamped_curvature(0.1, momentum)
    below, above = (
        quadratic.eigenvalues(0.1, momentum, limit * share) for share in (1 - 1e-6, 1 + 1e-6)
    )
    assert np.all(np.isreal(below)) and not np.any(np.isreal(above))
    assert abs(above) == pytest.approx(np.sqrt(momentum))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_heavy_ball_diverges_where_the_stability_ratio_passes_one(momentum):
    curvature = 1 / scale.stability_ratio(0.1, 1.0, momentum)
    assert curvature == pytest.approx(2 * (1 + momentum) / 0.1)
    for share, stable in ((0.5, True), (1 - 1e-6, True), (1 + 1e-6, False), (2.0, False)):
        radius = max(abs(quadratic.eigenvalues(0.1, momentum, share * curvature)))
        assert (radius < 1) == stable
    # No smaller curvature diverges.
    shares = np.linspace(1e-3, 0.999, 50)
    assert all(max(abs(quadratic.eigenvalues(0.1, momentum, s * curvature))) < 1 for s in shares)


@pytest.mark.parametrize("name", RATE_ROUTES)
def test_stability_rows_say_which_rule_comes_nearer_to_divergence(name):
    old, sharpness = one_phase(), 10.0
    found = route(name, old, sharpness=sharpness)
    for phase, value in arms(found, old, "stability_ratio"):
        # At 1/ratio times the sharpness a mode is on the edge.
        radii = [
            max(abs(quadratic.eigenvalues(**ball(phase), curvature=share * sharpness / value)))
            for share in (1 - 1e-6, 1 + 1e-6)
        ]
        assert radii[0] < 1 < radii[1]
    for phase, ratio in arms(found, old, "underdamping_ratio"):
        edge = sharpness / ratio
        modes = quadratic.eigenvalues(**ball(phase), curvature=edge * (1 + 1e-6))
        slower = quadratic.eigenvalues(**ball(phase), curvature=edge * (1 - 1e-6))
        assert np.all(np.isreal(slower)) and not np.any(np.isreal(modes))
    new = found.schedule.phases[0]
    radius = max(abs(quadratic.eigenvalues(**ball(new), curvature=sharpness)))
    assert (
        (radius > 1)
        == (name == "learning-rate")
        == ("unstable" in {w.code for w in found.warnings})
    )


# Batches of a reshuffled epoch.

# Published: (m, ελ/(1−m)): stationary variance over what g says, 32 batches per epoch.
PUBLISHED = {
    (0.0, 0.2): 0.85,
    (0.0, 0.02): 0.19,
    (0.0, 0.002): 0.021,
    (0.0, 0.0002): 0.0021,
    (0.9, 0.2): 0.62,
    (0.9, 0.02): 0.095,
    (0.9, 0.002): 0.010,
    (0.9, 0.0002): 0.0010,
}


@pytest.mark.parametrize(("momentum", "per_update"), PUBLISHED)
def test_reshuffling_takes_slow_modes_noise_away(momentum, per_update):
    """Modes that relax in 1/(32 ελ/(1−m)) = .16, 1.6, 16 and 156 epochs."""
    phase = one_phase(batch_size=16, momentum=momentum)
    curvature = per_update * (1 - momentum) / phase.learning_rate
    found = route("learning-rate", phase)
    predicted = row(found, "noise_scale").before / N / (2 * curvature)
    ratio = reshuffled_variance(phase, curvature) / predicted
    assert ratio == pytest.approx(PUBLISHED[momentum, per_update], rel=0.05)


@pytest.mark.parametrize("relaxation", [1.6, 16.0, 156.0])
def test_reshuffled_spread_across_batch_sizes_without_momentum(relaxation):
    old = one_phase(batch_size=16, momentum=0.0)
    curvature = 1 / (old.learning_rate * 32 * relaxation)
    before = reshuffled_variance(old, curvature)
    for name, low, high in (("learning-rate", 0.98, 1.05), ("sqrt", 0.24, 0.28)):
        found = route(name, old)
        ratio = reshuffled_variance(found.schedule.phases[0], curvature) / before
        assert low < ratio < high
    # √ takes the noise scale down to a half, and what reshuffling leaves of it to a quarter.
    g = row(found, "noise_scale")
    assert g.after / g.before == pytest.approx(1 / np.sqrt(KAPPA))


def left_by_memory(memory):
    """∫ (1−s)³ e^{−s/μ} ds / μ: variance of Brownian bridges averaged over a memory of μ epochs.

    Relative to no memory; the bridge's own correlation at a lag of s epochs is (1−s)³.
    """
    return 1 - 3 * memory + 6 * memory**2 - 6 * memory**3 * (1 - np.exp(-1 / memory))


@pytest.mark.parametrize(("name", "growth"), [("learning-rate", KAPPA), ("momentum", KAPPA**2)])
def test_reshuffled_spread_falls_with_the_momentum_memory(name, growth):
    """Equal g is not enough in reshuffled epochs: the buffer must be short beside an epoch."""
    old = one_phase(learning_rate=0.01, batch_size=2, momentum=0.9)
    found = route(name, old)
    curvature = (1 - old.momentum) / (old.learning_rate * N / old.batch_size * 100)
    memory = row(found, "momentum_memory_epochs")
    assert memory.after / memory.before == pytest.approx(growth)
    variances, laws = [], []
    for phase, epochs in arms(found, old, "momentum_memory_epochs"):
        variances.append(reshuffled_variance(phase, curvature))
        predicted = sgd_noise_scale(phase.learning_rate, phase.batch_size, N, phase.momentum) / (
            2 * curvature * N
        )
        # A third of the relaxation rate per epoch, times what the memory leaves.
        laws.append(left_by_memory(epochs))
        assert variances[-1] / predicted == pytest.approx(laws[-1] / (3 * 100), rel=0.04)
    assert variances[1] / variances[0] == pytest.approx(laws[1] / laws[0], rel=0.04)
    assert row(found, "noise_scale").kept and variances[1] / variances[0] < 0.8


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_simulated_permutations_agree_with_the_exact_spread(momentum):
    rng = np.random.default_rng(2)
    size, old = 64, one_phase(batch_size=2, momentum=momentum)
    examples = quadratic.white_examples(rng, size, 8)
    curvature = (1 - momentum) / (old.learning_rate * 32 * 1.6)  # relaxes in 1.6 epochs
    for phase in (
        old,
        *(route(n, old, train_size=size).schedule.phases[0] for n in ("learning-rate", "sqrt")),
    ):
        w = quadratic.simulate(
            rng,
            examples,
            "reshuffled",
            128,
            48,
            **ball(phase),
            batch_size=phase.batch_size,
            curvature=curvature,
        )
        # 16 of 48 epochs to burn in; whole epochs, so that every position counts alike.
        values = np.square(w[len(w) // 3 :]).swapaxes(0, 1)
        assert_simulated(values, reshuffled_variance(phase, curvature, size))


# Flat landscapes: diffusion and drift.


@pytest.mark.parametrize("kappa", [2, 4])  # √2 is no fraction
@pytest.mark.parametrize("name", RATE_ROUTES)
def test_diffusion_rows_are_what_a_free_walk_gains(name, kappa):
    old = one_phase()
    found = route(name, old, target=kappa * 8)
    gains = {}
    for which in ("update", "epoch"):
        gains[which] = []
        for phase, value in arms(found, old, f"diffusion_per_{which}"):
            n = 1 if which == "update" else N // phase.batch_size
            # Past 600 updates the buffer has filled: .95^600 is 4e-14.
            _, variance = quadratic.free_walk(
                **ball(phase), noise_variance=1 / phase.batch_size, updates=600 + n
            )
            gains[which].append(variance[-1] - variance[-1 - n])
            assert gains[which][-1] == pytest.approx(value, rel=1e-9)
    per_update = gains["update"][1] / gains["update"][0]
    per_epoch = gains["epoch"][1] / gains["epoch"][0]
    expected = {"learning-rate": (kappa, 1), "momentum": (kappa, 1), "sqrt": (1, 1 / kappa)}[name]
    assert (per_update, per_epoch) == pytest.approx(expected)
    assert row(found, "diffusion_per_update").kept == (name == "sqrt")
    assert row(found, "diffusion_per_epoch").kept == (name != "sqrt")


def test_regime_adaptation_diffuses_alike_update_by_update():
    old = one_phase()
    found = route("regime-adaptation", old)
    new = found.schedule.phases[0]
    assert found.updates == Schedule([old]).plan(N).updates == 512
    variances = [
        quadratic.free_walk(**ball(p), noise_variance=1 / p.batch_size, updates=512)[1]
        for p in (old, new)
    ]
    assert variances[1] == pytest.approx(variances[0])
    diffusion = row(found, "diffusion_per_update")
    assert diffusion.kept and diffusion.after * 512 == pytest.approx(variances[1][-1], rel=0.02)


def test_a_simulated_walk_drifts_and_diffuses_as_the_rows_say():
    rng = np.random.default_rng(3)
    size, old = 64, one_phase(batch_size=2)
    examples = quadratic.white_examples(rng, size, 8)
    for name in ("learning-rate", "sqrt"):
        found = route(name, old, train_size=size)
        for phase, per_update in arms(found, old, "diffusion_per_update"):
            w = quadratic.simulate(
                rng,
                examples,
                "replacement",
                512,
                phase.batch_size,  # epochs: 64 updates
                **ball(phase),
                batch_size=phase.batch_size,
                curvature=0.0,
                gradient=1.0,
            )[-1]
            mean, variance = quadratic.free_walk(
                **ball(phase), noise_variance=1 / phase.batch_size, updates=64
            )
            assert_simulated(w, mean[-1])
            assert_simulated(np.square(w - mean[-1]), variance[-1])
            # m(2+m)/(1−m²) updates of diffusion, 6.2 of 64, are lost to the empty buffer.
            m = phase.momentum
            assert variance[-1] == pytest.approx(per_update * (64 - m * (2 + m) / (1 - m * m)))


def test_batches_of_a_reshuffled_epoch_do_not_diffuse():
    """Their noises cancel: the diffusion rows speak of independent batches only."""
    rng = np.random.default_rng(4)
    w = quadratic.simulate(
        rng,
        quadratic.white_examples(rng, 64, 4),
        "reshuffled",
        256,
        4,
        learning_rate=0.1,
        batch_size=4,
        momentum=0.0,
        curvature=0.0,
    )
    assert np.abs(w[15::16]).max() < 1e-12
    # Half-way through the epoch's K = 16 batches it is there: ε² (K/4)/B · N/(N−1).
    assert_simulated(np.square(w[7::16]).swapaxes(0, 1), 0.1**2 * 4 / 4 * 64 / 63)


def test_cold_start_costs_the_drift_that_the_warning_says():
    old = one_phase(epochs=1, batch_size=8, momentum=0.9)
    found = route("learning-rate", old)
    stated = re.search(
        r"costs ([\d.]+)% .*\(([\d.]+)% in the original", message(found, "momentum-cold-start")
    )
    updates = (found.updates, Schedule([old]).plan(N).updates)
    assert updates == (16, 64)
    for phase, n, share in zip(
        (found.schedule.phases[0], old), updates, stated.groups(), strict=True
    ):
        mean, _ = quadratic.free_walk(**ball(phase), noise_variance=0.0, updates=n)
        full = -n * phase.learning_rate / (1 - phase.momentum)
        # The message has one digit after the point.
        assert 1 - mean[-1] / full == pytest.approx(float(share) / 100, abs=5.1e-4)


@pytest.mark.parametrize("momentum", [0.9, 0.98, 0.995])
def test_a_cold_start_loses_a_memory_of_drift_and_one_and_a_half_of_diffusion(momentum):
    mean, variance = quadratic.free_walk(0.1, momentum, 1 / 8, 4000)
    drift, diffusion = -0.1 / (1 - momentum), scale.diffusion_per_update(0.1, 8, momentum)
    lost = 4000 - mean[-1] / drift, 4000 - variance[-1] / diffusion
    memory = scale.momentum_memory_examples(8, momentum) / 8  # in updates
    assert lost[0] == pytest.approx(momentum * memory)
    assert lost[1] == pytest.approx(1.5 * memory, rel=1 - momentum)


# Memories.


def time_to_follow(decay):
    """Updates until an exponential average has made up all but 1/e of a step, interpolated."""
    average, updates = 0.0, 0
    while True:
        before, average = average, decay * average + (1 - decay)
        if average >= 1 - np.exp(-1):
            inside = np.log(np.exp(-1) / (1 - before)) / np.log(decay)
            return updates + inside
        updates += 1


@pytest.mark.parametrize("name", ["learning-rate", "momentum"])
def test_the_momentum_memory_is_the_time_the_buffer_takes_to_follow(name):
    old = one_phase(momentum=0.98)
    found = route(name, old)
    for phase, epochs in arms(found, old, "momentum_memory_epochs"):
        # 1/(1−m) against −1/log m: half an update's difference.
        followed = time_to_follow(phase.momentum) * phase.batch_size / N
        assert epochs == pytest.approx(followed, rel=0.02)


@pytest.mark.parametrize("what", ["ema", "batch_norm"])
def test_the_memory_of_an_average_is_the_time_it_takes_to_follow(what):
    old = one_phase()
    found = route("learning-rate", old, schedule={f"{what}_decay": 0.99})
    memory = row(found, f"{what}_memory_epochs")
    followed = time_to_follow(0.99) / N
    assert (memory.before, memory.after) == pytest.approx((8 * followed, 32 * followed), rel=0.01)


# Deterministic part: SDE time.


def two_phases(learning_rate=0.02, epochs=100.0, batch_size=8, **changed):
    return [
        one_phase(epochs=epochs / 2, learning_rate=learning_rate, batch_size=batch_size, **changed),
        one_phase(
            epochs=epochs / 2, learning_rate=learning_rate / 2, batch_size=batch_size, **changed
        ),
    ]


def descended(plan, curvature):
    """−log of what is left of w after the planned updates."""
    rows = [(r.learning_rate, r.momentum, r.updates) for r in plan.rows]
    return -np.log(quadratic.descend(rows, curvature))


TIMED = ("learning-rate", "momentum", "grow-batch", "sqrt", "regime-adaptation")


@pytest.mark.parametrize("name", TIMED)
def test_descent_is_lambda_times_the_sde_time_to_first_order(name):
    off = []
    for shrunk in (1, 4):  # a smaller rate over as much more time
        phases = two_phases(0.02 / shrunk, 50.0 * shrunk)
        found = route(name, phases)
        time = row(found, "sde_time")
        curvature = 2 / time.before
        progress = descended(Schedule(phases).plan(N), curvature), descended(found.plan, curvature)
        off.append(progress / np.multiply(curvature, (time.before, time.after)) - 1)
        ratio = {"sqrt": 1 / np.sqrt(KAPPA), "regime-adaptation": np.sqrt(KAPPA)}.get(name, 1.0)
        assert time.after / time.before == pytest.approx(ratio)
    # What is left shrinks with ε, four times.
    assert np.abs(off[1]).max() < 0.02
    assert off[1] == pytest.approx(off[0] / 4, rel=0.1, abs=2e-4)


@pytest.mark.parametrize(
    ("partial", "share"), [("carry", 1.0), ("drop", 0.6), ("keep", 1.2), ("wrap", 0.6)]
)
def test_partial_batches_cost_the_sde_time_that_the_row_says(partial, share):
    old = one_phase(epochs=60, learning_rate=0.001, batch_size=10, momentum=0.0)
    found = route("learning-rate", old, train_size=100, target=60, partial=partial)
    time = row(found, "sde_time")
    assert time.after / time.before == pytest.approx(share)
    assert descended(found.plan, 0.5) == pytest.approx(0.5 * time.after, rel=0.005)


# Weight decay on a flat direction.

DECAYS = ("coupled", "decoupled", "independent")
DECAY_ROUTES = ("learning-rate", "momentum", "grow-batch", "hybrid", "sqrt", "regime-adaptation")


def shrunk_per_epoch(plan, form):
    """−log of what an epoch leaves of a direction without gradient, from the update itself."""
    total = sum(
        -np.log(quadratic.flat_shrinkage(r.learning_rate, r.momentum, r.weight_decay, form))
        * r.updates
        for r in plan.rows
    )
    return total / sum(r.epochs for r in plan.rows)


@pytest.mark.parametrize("form", DECAYS)
@pytest.mark.parametrize("name", DECAY_ROUTES)
def test_shrinkage_per_epoch_is_the_weight_decay_row(name, form):
    phases = two_phases(0.1, 8.0, weight_decay=1e-4)
    found = route(name, phases, schedule={"decay": form})
    shrinkage = row(found, "weight_decay_per_epoch")
    before = shrunk_per_epoch(Schedule(phases, decay=form).plan(N), form)
    after = shrunk_per_epoch(found.plan, form)
    # The rows are first order in the decay of an update, at most 4e-4 here; where it
    # is coupled the next order is (1+m)/(1−m)/2 times 2e-4, .4 % at m = .95.
    assert (shrinkage.before, shrinkage.after) == pytest.approx((before, after), rel=0.005)
    flat = name in ("sqrt", "regime-adaptation")
    kappa_rule = KAPPA if form == "independent" else np.sqrt(KAPPA)
    assert after / before == pytest.approx(1 / kappa_rule if flat else 1.0, rel=0.005)
    assert shrinkage.kept == (not flat)


@pytest.mark.parametrize("form", DECAYS)
@pytest.mark.parametrize("name", ["learning-rate", "momentum"])
def test_rows_per_update_and_timescale_of_weight_decay(name, form):
    old = one_phase(weight_decay=1e-4)
    found = route(name, old, schedule={"decay": form})
    for which in ("intrinsic_learning_rate", "weight_decay_timescale_epochs"):
        for phase, value in arms(found, old, which):
            left = quadratic.flat_shrinkage(
                **ball(phase), weight_decay=phase.weight_decay, form=form
            )
            per_update = -np.log(left)
            epochs = phase.batch_size / N / per_update
            expected = per_update if which == "intrinsic_learning_rate" else epochs
            assert value == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6])
def test_covariance_of_an_increment_from_inclusion_variables(batch_size):
    """Δw = −(ε/B) Σ s_n g_n: Cov = ε² (1/B − 1/N) S, S over N − 1; averaged over every batch."""
    rng, size, rate = np.random.default_rng(0), 6, 0.3
    gradients = rng.normal([1.0, 0.0, -2.0], 1.0, (size, 3))
    steps = np.array(
        [-rate * gradients[list(b)].mean(axis=0) for b in combinations(range(size), batch_size)]
    )
    covariance = np.cov(steps.T, bias=True).reshape(3, 3) if len(steps) > 1 else np.zeros((3, 3))
    expected = rate**2 * (1 / batch_size - 1 / size) * np.cov(gradients.T)
    np.testing.assert_allclose(covariance, expected, atol=1e-14)
    np.testing.assert_allclose(steps.mean(axis=0), -rate * gradients.mean(axis=0), atol=1e-14)

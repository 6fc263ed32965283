import numpy as np
import pytest
from matplotlib.figure import Figure

from noisescale.analysis.gradient_noise import (
    adascale_gain,
    critical_batch_size,
    gradient_noise_scale,
    linear_rule_limit,
    noise_scale_from_parts,
    noise_scale_over_time,
    steps_and_examples,
)
from tests.reference import gradient_noise as reference


def norms(noise, n=60, runs=1):
    return reference.gaussian_norms(
        np.random.default_rng(0), runs, n, 8, 4, np.full(20, 20**-0.5), np.full(20, noise / 20)
    )


def test_the_wedge_touches_the_ellipse():
    """Fieller's interval is the set of slopes of rays that meet the ellipse of the means."""
    (small,), (big,) = norms(20.0)
    found = gradient_noise_scale(small, big, 4, 32)
    ax = found.plot(Figure().subplots())
    ellipse = ax.lines[1].get_xydata()
    slopes = ellipse[:, 1] / ellipse[:, 0]
    assert (slopes.min(), slopes.max()) == pytest.approx(found.interval, rel=1e-3)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any("60 measurements" in text for text in labels)


@pytest.mark.parametrize("noise", [20.0, 5000.0])
def test_one_estimate_draws_whatever_its_verdict(noise):
    (small,), (big,) = norms(noise)
    found = gradient_noise_scale(small, big, 4, 32)
    ax = found.plot()
    ax.figure.draw_without_rendering()
    assert ("measured" == found.verdict) == (noise == 20.0)
    assert ax.get_xlim()[1] > abs(found.grad_sq_norm)


def test_estimates_without_error_draw():
    for found in (
        gradient_noise_scale([5.0], [1.5], 4, 32),
        noise_scale_from_parts(np.ones((3, 1, 4)), 2),
    ):
        found.plot().figure.draw_without_rendering()


def test_over_time_shows_intervals_and_open_ends():
    small, big = norms(200.0, n=40, runs=9)
    updates = np.tile(np.arange(40), (9, 1))
    found = noise_scale_over_time(updates, small, big, 4, 32, windows=4)
    ax = found.plot()
    ax.figure.draw_without_rendering()
    drawn = [w.value for w in found.windows if w.value > 0]
    heights = np.concatenate([c.lines[0].get_ydata() for c in ax.containers])
    np.testing.assert_allclose(np.sort(heights), np.sort(drawn))
    assert "9 runs, 360 measurements" in ax.get_title()


def test_a_sweep_draws_its_runs_and_law():
    sizes = 2.0 ** np.arange(3, 13)
    found = critical_batch_size(sizes, reference.steps_to_target(sizes, 500.0, 300.0))
    ax = found.plot()
    np.testing.assert_allclose(ax.lines[0].get_xdata(), sizes * found.steps)
    E, S = ax.lines[1].get_xydata().T
    np.testing.assert_allclose((S / 500 - 1) * (E / 150000 - 1), 1, rtol=1e-6)
    critical_batch_size([8.0], [100.0]).plot().figure.draw_without_rendering()


def test_what_follows_draws():
    (small,), (big,) = norms(20.0)
    noise = gradient_noise_scale(small, big, 4, 32)
    lost = gradient_noise_scale(*(x[0] for x in norms(5000.0)), 4, 32)
    for given in (noise, lost):
        ax = steps_and_examples(given, np.geomspace(1, 1000, 20)).plot()
        np.testing.assert_allclose(ax.lines[0].get_xdata(), np.geomspace(1, 1000, 20))
        gain = adascale_gain(given, 8, 4)
        curve = gain.plot().lines[0].get_xydata()
        np.testing.assert_allclose(curve[:, 0], curve[:, 1])
        linear_rule_limit(given, 2.0, batch_size=32).plot().figure.draw_without_rendering()
    assert "momentum" in linear_rule_limit(1.0, momentum=0.9).plot().get_title()

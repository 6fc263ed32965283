import numpy as np
import pytest
from matplotlib.figure import Figure

from noisescale.analysis.walk.collapse import CLOCKS, readings
from noisescale.plots.walk_verdict import draw_clock, draw_drift_share, draw_memory
from tests.analysis.walk.confusion import judge
from tests.reference import worlds


@pytest.fixture(scope="module")
def verdict():
    return judge(worlds.additive(None, d=100, rng=np.random.default_rng(0)))


def test_shares_and_memory_are_the_curves(verdict):
    for draw, curves in ((draw_drift_share, verdict.drift_share), (draw_memory, verdict.memory)):
        ax = Figure().subplots()
        assert draw(ax, verdict) is ax
        for line, curve in zip(ax.lines, curves, strict=False):
            np.testing.assert_array_equal(line.get_ydata(), curve.value)
            np.testing.assert_array_equal(line.get_xdata(), curve.time)
        assert [line.get_label() for line in ax.lines[:3]] == ["B = 16", "B = 64", "B = 256"]
        assert len(ax.collections) == 3  # bands


@pytest.mark.parametrize("clock", CLOCKS)
def test_distances_against_clocks(verdict, clock):
    ax = draw_clock(Figure().subplots(), verdict, clock)
    score = next(score for score in verdict.collapse if score.clock == clock)
    for line, arm in zip(ax.lines, verdict.arms, strict=False):
        x = readings(clock, arm, score.tau)
        np.testing.assert_allclose(line.get_xdata(), x[x > 0])
        np.testing.assert_allclose(line.get_ydata()[-1], np.sqrt(arm.square.mean(0))[-1])
    assert len(ax.lines) == (4 if clock in ("t", "examples") else 3)
    assert ax.get_title().startswith("collapse: ") == score.holds


def test_figure_shows_the_verdict(verdict):
    figure = verdict.plot()
    assert figure.get_suptitle().startswith("free diffusion  (4 seeds, 95% intervals)")
    assert len(figure.axes) == 6


def test_a_verdict_of_too_few_data_can_be_drawn():
    runs = worlds.additive(None, d=100, seeds=1, rng=np.random.default_rng(0))
    assert judge(runs).plot().get_suptitle().startswith("undecided")
